"""Families of models: what joins the points of a curve over scale, and which run stands for a family in a sweep."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lf_experiments.results.tables import measured, read_json


def final_runs(table: pd.DataFrame) -> pd.DataFrame:
    """The finished runs of a sweep table with final weights, smallest model first."""
    runs = measured(table)
    is_final = (runs["status"] == "done") & (runs["checkpoint"] == "final") & runs["num_parameters"].notna()
    return runs[is_final].sort_values(["num_parameters", "model"], kind="stable")


def family_names(runs: pd.DataFrame) -> pd.Series:
    """What joins models: their name up to the first hyphen, without the owner of a repository, and the variant of the run."""
    names = [
        model.rpartition("/")[2].partition("-")[0] + (f", {variant}" if variant else "")
        for model, variant in zip(runs["model"], runs["variant"], strict=True)
    ]
    return pd.Series(names, runs.index, dtype=str)


def is_llama(runs: pd.DataFrame) -> pd.Series:
    """Whether the model of each run is one that appendix C of the paper is about: its family is called llama, llama2 and so on.

    The figures of the body of the paper are about all others, BLOOM first of all.
    """
    return pd.Series([name.lower().startswith("llama") for name in family_names(runs)], runs.index, dtype=bool)


def llama_runs(table: pd.DataFrame) -> pd.DataFrame:
    """Those of `final_runs` that are of a LLaMA."""
    runs = final_runs(table)
    return runs[is_llama(runs)]


def main_run(runs: pd.DataFrame) -> Path | None:
    """The run with the most stages done, the first of several; None where there is no run."""
    return max(runs.index, key=stages_done, default=None)


def stages_done(run: Path) -> int:
    """How many stages of a run have ended well."""
    return len(read_json(run / "run.json")["stages"])
