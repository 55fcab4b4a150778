"""What a run found, in a few lines for the terminal."""

from __future__ import annotations

from lf_experiments.languages import language_name
from lf_experiments.report.numbers import score_rows
from lf_experiments.runs.derived import CONTROLS, MATCHED, RANDOM, increases
from lf_experiments.runs.run import Run
from lf_experiments.runs.text import increase_text

CONTROL_TEXTS = {
    RANDOM: "as many random neurons as the largest region",
    MATCHED: "random neurons that match the region of a language",
}
"""The controls as the subject of a sentence."""


def summary(run: Run) -> str:
    """The scores of a run with their intervals, what its regions cost, its warnings, and where its files are."""
    metrics, report, tracked = run.metrics, run.folder / "report.html", run.record.get("tracking")
    return "\n".join(
        [
            "",
            f"{metrics.model} at {metrics.checkpoint}: "
            f"{len(metrics.languages)} languages, {metrics.sentences_per_language} sentences each",
            *score_lines(run),
            *losses(run),
            *(f"  warning: {warning}" for warning in run.record["warnings"]),
            f"  files  {run.folder}",
            *([f"  report {report}"] if report.is_file() else []),
            *([f"  {tracked}"] if tracked else []),
        ]
    )


def score_lines(run: Run) -> list[str]:
    """A line per score: name, value and meaning, in columns."""
    rows = score_rows(run.metrics)
    name_width, value_width = (max((len(row[column]) for row in rows), default=0) for column in (0, 1))
    return [f"  {name:{name_width}}  {value:{value_width}}  {meaning}" for name, value, meaning in rows]


def losses(run: Run) -> list[str]:
    """How much perplexity rises without a region, for its own language and for the others, and without random neurons."""
    if run.perplexity is None:
        return []
    table = increases(run.perplexity)
    regions = table.drop(columns=list(CONTROLS), errors="ignore").melt(ignore_index=False).reset_index()
    own = regions[regions["deactivated"] == regions["language"]]
    others = regions[regions["deactivated"] != regions["language"]]
    if own.empty:
        return []
    if own["value"].isna().all():
        return ["  The perplexity of the whole model is too large for a number: what a region costs cannot be told."]
    most = own.loc[own["value"].idxmax()]
    mean_own, highest, mean_others = (
        increase_text(value, " %") for value in (own["value"].mean(), most["value"], others["value"].mean())
    )
    controls = [
        f"{text} cost {increase_text(table[name].mean(), ' %')}" for name, text in CONTROL_TEXTS.items() if name in table
    ]
    return [
        f"  Without a language's key region its perplexity rises by {mean_own} on average"
        f" (most: {language_name(most['language'])}, {highest}),",
        f"  that of the other languages by {mean_others}{''.join(f'; {control}' for control in controls)}.",
    ]
