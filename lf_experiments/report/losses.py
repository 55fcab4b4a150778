"""What a model loses without its key regions: perplexity and story cloze, and what to bear in mind with them."""

from __future__ import annotations

import pandas as pd

from lf_experiments.figures import table1_deactivation
from lf_experiments.languages import language_name
from lf_experiments.report.numbers import column_texts, number_text
from lf_experiments.report.page import Section, blocks, section
from lf_experiments.report.table import heading, plain_table, with_strong_diagonal
from lf_experiments.runs.derived import CONTROLS, MATCHED, NOTHING, RANDOM, region_sizes, what_is_off
from lf_experiments.runs.run import Run
from lf_experiments.runs.scores import CLOZE as CLOZE_SCORE
from lf_experiments.runs.scores import Score
from lf_experiments.runs.text import perplexity_text, share_text

DEACTIVATION = (
    "Rows are the evaluated languages, with the perplexity of the full model. Each further column switches off the key neurons "
    "of one language (×), or random ones: as many as the largest key region has (the paper's Table 1), or such that match the "
    "region of the row in number, layers and strength. In brackets stands the interval over windows of text."
)
FULL = (
    "Perplexities compare neither between languages nor between tokenizers; bits per byte compare between models that read the "
    "same text."
)
CLOZE = (
    "How often the right one of two English endings is the likelier, after a story in each language, with its interval (or ± "
    "one standard error in points). Guessing is right half of the time. Columns switch off key regions (×), or random neurons "
    "(mean over draws)."
)
EFFECTS = {
    "own": "Own language",
    "spill": "Other languages",
    "selectivity": "Own less others",
    "control": "Random neurons",
    "against_control": "Own less random",
}
"""The columns of `effects.csv` that are shown, and their heads."""
EFFECT = Score("effect", "Effect", "", "{:.4f}".format)
"""How an effect is written."""
EFFECTS_TEXT = (
    "What switching off the key region of a language costs, in nats per token (the rise of the logarithm of perplexity): its "
    "own language, the others on average, and the difference, which is above 0 where a region belongs to its language; then "
    "what random neurons cost the language, and the difference, which is above 0 where the region matters more than neurons "
    "that act as strongly. In brackets the interval: one that includes 0 decides nothing."
)
NO_CONTROL = "No random neurons were switched off (control.draws=0): a loss may be due to the size of a region alone."


def deactivation(run: Run) -> Section | None:
    """The paper's Table 1, as text."""
    if run.perplexity is None or run.regions is None:
        return None
    table = plain_table(table1_deactivation.wide_text(run).reset_index(), foot=2)
    title = "Perplexity increase after deactivation"
    return section("deactivation", title, blocks.soft(DEACTIVATION), blocks.table(with_strong_diagonal(table)))


def effects(run: Run) -> Section | None:
    """What each key region costs its own language, the others, and beside random neurons, with intervals."""
    if run.effects is None:
        return None
    columns = {"Language": run.effects["language"].map(language_name)}
    for name, title in EFFECTS.items():
        if name in run.effects:
            columns[title] = column_texts(run.effects, EFFECT, name)
    p = run.metrics["selectivity_p"] if run.metrics else None
    chance = "" if p is None else f" Regions shuffled over the languages cost them as much in all with probability {p:.2g}."
    return section(
        "effects",
        "Effects of the key regions",
        blocks.soft(EFFECTS_TEXT + chance),
        blocks.table(plain_table(pd.DataFrame(columns))),
    )


def full_model(run: Run) -> Section | None:
    """How well the full model predicts each language."""
    if run.perplexity is None:
        return None
    rows = whole_model(run.perplexity)
    text = pd.DataFrame(
        {
            "Language": rows["language"].map(language_name),
            "Perplexity": rows["perplexity"].map(perplexity_text),
            "Bits per byte": rows["bits_per_byte"].map("{:.3f}".format),
            "Tokens": rows["tokens"].map("{:,}".format),
            "Bytes per token": (rows["bytes"] / rows["tokens"]).map("{:.2f}".format),
        }
    )
    return section("full-model", "Full model", blocks.soft(FULL), blocks.table(plain_table(text)))


def story_cloze(run: Run) -> Section | None:
    """The accuracy on the stories of every language under every deactivation; of several random draws the mean."""
    if run.cloze is None:
        return None
    languages = list(run.cloze["language"].unique())
    table = run.cloze.assign(deactivated=what_is_off(run.cloze))
    names = sorted(table["deactivated"].unique(), key=lambda name: name in CONTROLS)
    columns = {
        "Language of the stories": [*map(language_name, languages), "Mean"],
        "Stories": [*whole_model(run.cloze)["items"].map("{:,}".format), ""],
        **{heading(name): accuracy_column(table[table["deactivated"] == name], languages) for name in names},
    }
    shown = with_strong_diagonal(plain_table(pd.DataFrame(columns), foot=1))
    return section("cloze", "Story cloze", blocks.soft(CLOZE), blocks.table(shown))


def accuracy_column(rows: pd.DataFrame, languages: list[str]) -> list[str]:
    """Accuracy of every language, with its interval where it is of one draw, and the mean accuracy."""
    found = rows.groupby("language")[["accuracy"]].mean().reindex(languages)
    mean = accuracy_text(found["accuracy"].mean(), None)
    if rows["draw"].nunique() > 1:
        return [*map(share_or_dash, found["accuracy"]), mean]
    alone = rows.set_index("language").reindex(languages)
    if "lo" in alone:
        ends = zip(alone["accuracy"], alone["lo"], alone["hi"], strict=True)
        return [*(number_text(CLOZE_SCORE, value, (low, high)) for value, low, high in ends), mean]
    return [*map(accuracy_text, alone["accuracy"], alone["stderr"]), mean]


def share_or_dash(accuracy: float) -> str:
    """An accuracy in percent, a dash where it is missing."""
    return accuracy_text(accuracy, None)


def accuracy_text(accuracy: float, error: float | None) -> str:
    """An accuracy in percent, with its standard error in points where it has one."""
    if pd.isna(accuracy):
        return "–"
    return share_text(accuracy) if error is None or pd.isna(error) else f"{share_text(accuracy)} ± {100 * error:.1f}"


def notes(run: Run) -> list[str]:
    """What to bear in mind with the numbers of a run: what the control is, and what perplexities do not say."""
    return [note for note in (control_note(run), tokenizer_note(run)) if note]


def control_note(run: Run) -> str | None:
    """What the random neurons are."""
    if run.perplexity is None or run.regions is None:
        return None
    random = run.perplexity.assign(kind=what_is_off(run.perplexity)).query("deactivated == @RANDOM")
    if random.empty:
        return NO_CONTROL
    draws = random.groupby("kind", sort=False)["draw"].nunique()
    largest = region_sizes(run.regions)["key_neurons"].max()
    kinds = {
        RANDOM: f"{largest:,} of them, as many as the largest key region has, drawn from all layers",
        MATCHED: "as many as the key region of a language has, in the same layers"
        + (" and acting as strongly there" if matched_by(run) == "impact" else "")
        + ", evaluated on that language",
    }
    told = "; and ".join(f"{kinds[kind]} ({count} draw{'s' * (count > 1)})" for kind, count in draws.items())
    return (
        f"Random neurons are the control: {told}, with the seed of the run. Where one number stands for several draws it is "
        "their mean. A region matters where its own language loses more than without them."
    )


def matched_by(run: Run) -> str:
    """What random neurons have in common with the regions they match: the value of `control.match`."""
    return ((run.record or {}).get("config", {}).get("control") or {}).get("match", "impact")


def tokenizer_note(run: Run) -> str | None:
    """How different the tokens of the languages are; None where they are alike."""
    if run.perplexity is None:
        return None
    rows = whole_model(run.perplexity)
    sizes = (rows["bytes"] / rows["tokens"]).set_axis(rows["language"].map(language_name))
    if sizes.nunique() < 2:
        return None
    return (
        f"Perplexity is per token, and a token of {sizes.idxmax()} is {sizes.max():.1f} bytes of text, one of {sizes.idxmin()} "
        f"{sizes.min():.1f}: perplexities compare neither between languages nor between tokenizers. Bits per byte, which stand "
        "beside them, compare between models that read the same text; rises in percent compare within a language."
    )


def whole_model(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table in which nothing is switched off."""
    return table[table["deactivated"] == NOTHING]
