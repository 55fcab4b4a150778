"""What a run found, in a few lines for the terminal."""

from __future__ import annotations

from lf_experiments.languages import language_name
from lf_experiments.results.run_folder import RunFolder
from lf_experiments.results.tables import read_json


def summary(run: RunFolder) -> str:
    """The main figures of a run and where its files are."""
    metrics = read_json(run.path / "metrics.json")
    lines = [
        "",
        f"{metrics['model']} at {metrics['checkpoint']}: "
        f"{len(metrics['languages'])} languages, {metrics['sentences_per_language']} sentences each",
    ]
    if metrics["lrds"] is not None:
        lines.append(f"  LRDS  {metrics['lrds']:8.4f}   how much activations depend on the language (eq. 8)")
        lines.append(f"  SADS  {metrics['sads']:8.4f}   how much they depend on the meaning (eq. 9)")
    if metrics["sklr"] is not None:
        share = metrics["sklr_fraction"]
        lines.append(f"  SKLR  {metrics['sklr']:8,d}   key neurons of all languages, {share:.1%} of {metrics['num_neurons']:,}")
    if metrics["cloze_accuracy"]:
        accuracies = metrics["cloze_accuracy"].values()
        lines.append(
            f"  Cloze {sum(accuracies) / len(accuracies):8.1%}   stories ended rightly, mean over languages (guessing: 50 %)"
        )
    if run.has("deactivate"):
        lines.extend(losses(run))
    lines.extend(f"  warning: {warning}" for warning in run.record["warnings"])
    lines.append(f"  files  {run.path}")
    if (run.path / "report.html").is_file():
        lines.append(f"  report {run.path / 'report.html'}")
    if run.record["tracking"]:
        lines.append(f"  {run.record['tracking']}")
    return "\n".join(lines)


def losses(run: RunFolder) -> list[str]:
    """How much perplexity rises without a region, for its own language and for the others."""
    table = run.read_table("perplexity.csv")
    regions = table[~table["deactivated"].isin(["none", "random"])]
    own = regions[regions["deactivated"] == regions["language"]]
    others = regions[regions["deactivated"] != regions["language"]]
    most = own.loc[own["increase_percent"].idxmax()]
    lines = [
        f"  Without a language's key region its perplexity rises by {own['increase_percent'].mean():.1f} % on average"
        f" (most: {language_name(most['language'])}, {most['increase_percent']:.1f} %),",
        f"  that of the other languages by {others['increase_percent'].mean():.1f} %",
    ]
    random = table[table["deactivated"] == "random"]
    if len(random):
        lines[-1] += f"; as many random neurons as the largest region cost {random['increase_percent'].mean():.1f} %."
    else:
        lines[-1] += "."
    return lines
