"""Families of models: what joins the points of a curve over scale, and which runs the body and appendix C of the paper show.

A family is a fact of a model's YAML (`model.family`), written to metrics.json; no name is ever parsed.
"""

from __future__ import annotations

import pandas as pd

from lf_experiments.runs.lines import measured, with_variant
from lf_experiments.runs.run import Run

APPENDIX_C_FAMILIES = ("llama2", "llama-nano")
"""The families that appendix C of the paper is about, in the figures 8 to 11 and tables 3 and 4: LLaMA-2, and the LLaMA that
is grown on the spot to stand for it. The body of the paper is about all others, BLOOM first of all."""

WHOLE, BODY, APPENDIX_C = "whole", "body", "appendix C"
"""The parts of a sweep that a figure can be about."""


def final_runs(table: pd.DataFrame) -> pd.DataFrame:
    """The finished runs of a sweep table with final weights, smallest model first."""
    runs = measured(table)
    is_final = (runs["status"] == "done") & (runs["checkpoint"] == "final") & runs["num_parameters"].notna()
    return runs[is_final].sort_values(["num_parameters", "model"], kind="stable")


def family_names(runs: pd.DataFrame) -> pd.Series:
    """What joins models of different sizes: their family, and the variant of the run."""
    return with_variant(runs["family"], runs)


def is_in_part(table: pd.DataFrame, part: str) -> pd.Series:
    """Whether the model of each row is one that a part of the paper is about."""
    in_appendix = table["family"].isin(APPENDIX_C_FAMILIES)
    return {WHOLE: in_appendix | True, BODY: ~in_appendix, APPENDIX_C: in_appendix}[part]


def main_run(runs: pd.DataFrame) -> Run | None:
    """The run that stands for the others where one is shown: the first of those with the most stages done."""
    return max(runs.index, key=lambda run: run.stages_done, default=None)
