"""A run as a dataset of the Hugging Face hub: its tables as subsets that the hub shows, and a card that says what they are of.

`python -m lf_experiments.share RUN ORGANISATION/NAME` writes the folder and uploads it; with `--dry-run` it only writes it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
from huggingface_hub import DatasetCard, DatasetCardData, HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id

from lf_experiments.errors import InputError, exit_status
from lf_experiments.report.facts import main_facts
from lf_experiments.report.numbers import score_rows
from lf_experiments.runs.run import Run
from lf_experiments.runs.tables import write_csv

FOLDER = Path("shared")
"""Where what is uploaded is written, below the working directory, unless `--out` says otherwise: not into the run, for a sweep
looks for runs at any depth."""
TABLES = ("*.csv", "*.parquet")
AS_THEY_ARE = ("metrics.json", "similarity.npy")
"""Files without a text or a path in them."""
WITH_TEXTS = ("figures", "report.html")
"""What shows sentences of the corpus; it is shared where the licence lets them be."""
TEXTS = {"samples.csv": ["text"], "generations.csv": ["prompt", "text"]}
"""The columns that hold sentences of the corpus, or what a model wrote after them."""
MAY_BE_SHARED = ("MIT", "CC", "Apache", "public domain")
"""How the name of a licence begins that lets texts be passed on with their source named."""
HUB_LICENCES = {
    "CC0 1.0": "cc0-1.0",
    "CC BY 4.0": "cc-by-4.0",
    "CC BY-SA 4.0": "cc-by-sa-4.0",
    "CC BY-NC-SA 4.0": "cc-by-nc-sa-4.0",
}
"""The hub's names of licences; others are `other`, and the card says which."""

CARD = """---
{{ card_data }}
---

# {{ title }}

Neurons of **{{ model }}** on parallel sentences in {{ languages | length }} languages: how far the model tells languages apart,
how far it sees translations as the same, which neurons belong to one language, and what is lost without them. The measures are
those of *Converging to a Lingua Franca* (Zeng, Han, Chen and Yu); they were computed by
`{{ command }}`{% if commit %} of lf_experiments at commit `{{ commit }}`{% endif %}.

| score | value | |
|---|---|---|
{% for score in scores -%}
| {{ score[0] }} | {{ score[1] }} | {{ score[2] }} |
{% endfor %}
## What was read

{% for name, fact in facts.items() -%}
* {{ name }}: {{ fact }}
{% endfor %}
## What is in it

{% for name, columns in tables.items() -%}
* `{{ name }}`: {{ columns }}
{% endfor -%}
* `metrics.json`: all scores; `run.json`: the whole configuration, versions and fingerprints
{%- if similarity %}
* `similarity.npy`: the cosine of the neurons of every two sentences, in the order of `samples.csv`
{%- endif %}

## What may be passed on

{{ licence_text }}
{%- for warning in warnings %}
{% if loop.first %}
## Warnings of the run
{% endif %}
* {{ warning }}
{%- endfor %}
"""


def write_shared_folder(run: Run, out: Path, name: str) -> Path:
    """Write everything of a run that may be passed on, with its card, into `out`, which is emptied first; returns it.

    Sentences of a corpus whose licence is unknown, or does not allow it, are left out: the columns of the tables that hold
    them, the report and the figures. Paths of this machine are left out of the record. Raises `InputError` for a folder that
    is not that of a finished run, and for an `out` that holds anything else.
    """
    check_finished(run)
    empty(out)
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(path for pattern in TABLES for path in run.folder.glob(pattern)):
        share_table(path, out, has_free_texts(run))
    for path in (run.folder / name for name in AS_THEY_ARE):
        if path.exists():
            shutil.copyfile(path, out / path.name)
    if has_free_texts(run):
        copy_pictures(run, out)
    (out / "run.json").write_text(json.dumps(without_paths(run.record), indent=2, ensure_ascii=False), encoding="utf-8")
    card(run, out, name).save(out / "README.md")
    return out


def check_finished(run: Run) -> None:
    """Raises `InputError` where there is no run that has ended well."""
    if run.record is None or run.metrics is None:
        raise InputError("RUN", run.folder, "it has no run.json and metrics.json", "give the folder of a run")
    if run.status != "done":
        raise InputError("RUN", run.folder, f"its status is {run.status}", "let it end first: the same command goes on with it")


def empty(out: Path) -> None:
    """Remove what was shared before. Raises `InputError` where the folder is another's."""
    if out.is_dir() and any(out.iterdir()):
        if not (out / "README.md").exists() or not (out / "run.json").exists():
            raise InputError("--out", out, "the folder is not empty, and nothing was shared from it", "give another folder")
        shutil.rmtree(out)


def licence_of(run: Run) -> str:
    """The licence of the corpus whose sentences are in the tables; empty where it is not known."""
    return run.record["data"]["dataset"]["licence"]


def has_free_texts(run: Run) -> bool:
    """Whether the sentences may be passed on."""
    return licence_of(run).startswith(MAY_BE_SHARED)


def share_table(path: Path, out: Path, with_texts: bool) -> None:
    """Copy a table, without the columns that hold texts where these may not be passed on."""
    if with_texts or path.name not in TEXTS:
        shutil.copyfile(path, out / path.name)
    else:
        table = pd.read_csv(path, keep_default_na=False, dtype=str)
        write_csv(table.drop(columns=TEXTS[path.name]), out / path.name)


def copy_pictures(run: Run, out: Path) -> None:
    """Copy report and figures, as far as they are there; the report names the folder of the model, but not where it was."""
    figures, report = (run.folder / name for name in WITH_TEXTS)
    if figures.is_dir():
        shutil.copytree(figures, out / figures.name)
    if report.exists():
        place = escape(run.record["model"]["folder"])
        page = report.read_text(encoding="utf-8").replace(place, escape(without_paths(run.record["model"]["folder"])))
        (out / report.name).write_text(page, encoding="utf-8")


def without_paths(value: Any) -> Any:
    """A record without the names of folders of this machine: a path is cut to its last part."""
    if isinstance(value, dict):
        return {key: without_paths(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_paths(inner) for inner in value]
    if isinstance(value, str):
        return " ".join(".../" + Path(word).name if is_path(word) else word for word in value.split(" "))
    return value


def is_path(word: str) -> bool:
    """Whether a word of the record, or what follows its `=`, is a path from the root or from somebody's home."""
    return word.rpartition("=")[2].startswith(("/", "~/"))


def card(run: Run, out: Path, name: str) -> DatasetCard:
    """The card of a shared folder: its subsets, its licence, the scores, and what they are of."""
    metrics, licence = run.metrics, licence_of(run)
    tables = sorted([*out.glob("*.csv"), *out.glob("*.parquet")])
    data = DatasetCardData(
        license=hub_licence(licence),
        language=metrics.languages,
        tags=["interpretability", "multilingual", "lf_experiments"],
        pretty_name=f"Neurons of {metrics.model}",
        configs=[{"config_name": path.stem, "data_files": path.name} for path in tables],
        license_name=licence.lower().replace(" ", "-") if hub_licence(licence) == "other" else None,
    )
    return DatasetCard.from_template(
        data,
        template_str=CARD,
        title=name,
        model=escaped(metrics.model),
        languages=metrics.languages,
        command=without_paths(run.record["command"]),
        commit=run.record["git_commit"],
        scores=score_rows(metrics),
        facts={key: escaped(without_paths(fact)) for key, fact in main_facts(run).items()},
        tables={path.name: column_names(path) for path in tables},
        similarity=(out / "similarity.npy").exists(),
        licence_text=licence_text(licence, has_free_texts(run)),
        warnings=[escaped(without_paths(warning)) for warning in run.record["warnings"]],
    )


def hub_licence(licence: str) -> str:
    """A licence by the hub's name of it."""
    if not licence:
        return "unknown"
    return "mit" if licence.startswith("MIT") else HUB_LICENCES.get(licence, "other")


def column_names(path: Path) -> str:
    """The columns of a table, as a list in a sentence."""
    table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, nrows=0)
    return ", ".join(table.columns)


def licence_text(licence: str, with_texts: bool) -> str:
    """What the card says of rights."""
    numbers = "The numbers are measurements; name the paper, the model and this dataset where you use them."
    if with_texts:
        return f"{numbers} The sentences come from a corpus under {licence}: its conditions hold for every copy of them."
    why = f"under {licence}" if licence else "whose licence is not known"
    return f"{numbers} The sentences come from a corpus {why}: they, the report and the figures are left out."


def escaped(text: str) -> str:
    """Text of a configuration or a corpus as it is, in Markdown: no markup of its own counts."""
    for letter in "\\`*_[]<>|#":
        text = text.replace(letter, f"\\{letter}")
    return text.replace("\n", " ")


def upload(folder: Path, repository: str, private: bool) -> str:
    """Create the dataset where it is not there, and upload the folder; returns its address.

    Raises `InputError` where the hub refuses or cannot be reached.
    """
    api = HfApi()
    try:
        address = api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
        api.upload_folder(repo_id=repository, repo_type="dataset", folder_path=folder, commit_message="Add a run")
    except (HfHubHTTPError, OSError) as error:
        remedy = f"`hf auth login` with a token that may write, or check the network; the folder is ready in {folder}"
        raise InputError("REPOSITORY", repository, f"the hub does not take it: {error}", remedy) from error
    return str(address)


def main(arguments: list[str] | None = None) -> int:
    """The command; the exit status is 1 where the run cannot be shared."""
    parser = argparse.ArgumentParser(
        prog="python -m lf_experiments.share", description="Share a run as a dataset of the Hugging Face hub."
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="the folder of a finished run")
    parser.add_argument(
        "repository", metavar="ORGANISATION/NAME", help="the dataset on the hub; it is made where it is missing"
    )
    parser.add_argument("--dry-run", action="store_true", help="write the folder and show it; upload nothing")
    parser.add_argument("--private", action="store_true", help="make the dataset visible to its owners alone")
    parser.add_argument("--out", metavar="FOLDER", type=Path, help=f"where to write (default: {FOLDER}/ORGANISATION/NAME)")
    given = parser.parse_args(arguments)
    out = given.out or FOLDER / given.repository
    return exit_status(lambda: share(given.run, given.repository, out, given.dry_run, given.private))


def share(run: Path, repository: str, out: Path, dry_run: bool, private: bool) -> int:
    """Write the folder, say what is in it, and upload it unless it is a dry run."""
    check_name(repository)
    folder = write_shared_folder(Run(run), out, repository)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    print("\n".join([str(folder), *(f"{path.stat().st_size:>12,} {path.relative_to(folder)}" for path in files)]))
    if not dry_run:
        print(upload(folder, repository, private))
    return 0


def check_name(repository: str) -> None:
    """Raises `InputError` for a name that no dataset of an organisation can have."""
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise InputError("REPOSITORY", repository, "this is no name of a dataset", "give it as ORGANISATION/NAME") from error
    if "/" not in repository:
        raise InputError("REPOSITORY", repository, "it lacks its organisation", "give it as ORGANISATION/NAME")


if __name__ == "__main__":
    sys.exit(main())
