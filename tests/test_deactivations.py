"""Interventions, doses and tasks as a user chooses them: from the command to the tables."""

import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lf_experiments import __main__ as command
from lf_experiments.evaluations import generation, story_cloze
from lf_experiments.evaluations import perplexity as perplexities

SHORT = (
    "experiment=smoke",
    "dataset.sentences=6",
    "stages=[capture,probe,deactivate]",
    "probe.threshold=1.5",
    "text.documents=3",
    "cache.enabled=false",  # runs are compared here: none may read what another has evaluated
)

CODES = ["en", "zh", "fr", "es", "pt", "ar", "vi", "hi", "id"]
CELL = ["deactivated", "draw", "matches", "dose", "language"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Runs the command in this process; returns the run folder."""
    cache = tmp_path_factory.mktemp("cache")

    def run_command(*overrides: str) -> Path:
        folder = tmp_path_factory.mktemp("run") / "run"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LF_EXPERIMENTS_CACHE", str(cache))
            patch.setattr(sys, "argv", ["lf_experiments", *SHORT, f"hydra.run.dir={folder}", *overrides])
            command.main()
        return folder

    return run_command


def perplexity(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "perplexity.csv", keep_default_na=False)


@pytest.fixture(scope="module")
def zeroed(run: Callable[..., Path]) -> pd.DataFrame:
    return perplexity(run())


KEEPING = (
    "cache.enabled=true",
    "stages=[capture,probe,deactivate,cloze,generate]",
    "cloze.stories=2",
    "generation.tokens=3",
    "control.draws=1",
)
TABLES = ("perplexity.csv", "perplexity_windows.parquet", "cloze.csv", "cloze_stories.parquet", "generations.csv")


@pytest.fixture(scope="module")
def keeping(run: Callable[..., Path]) -> Path:
    """A run whose cells are in the cache."""
    return run(*KEEPING)


def found_cells(capsys: pytest.CaptureFixture[str]) -> dict[str, tuple[int, int]]:
    """By evaluation, how many cells the last run has found, of how many."""
    said = "".join(capsys.readouterr())
    found = re.findall(r"^(.+): (\d+) of (\d+) cells were evaluated before$", said, re.MULTILINE)
    return {evaluation: (int(known), int(asked)) for evaluation, known, asked in found}


def test_a_run_reads_nothing_that_one_with_the_same_cache_has_evaluated(keeping, run, zeroed, monkeypatch, capsys) -> None:
    for module, reads in ((perplexities, "window_nll"), (story_cloze, "judge"), (generation, "continuations")):
        monkeypatch.setattr(module, reads, lambda *_: pytest.fail("the model has read"))
    again = run(*KEEPING, "uncertainty.level=0.9", "runtime.batch_tokens=64")
    assert found_cells(capsys) == {"perplexity": (99, 99), "story cloze": (99, 99), "generation": (90, 90)}
    for name in TABLES:
        read = pd.read_csv if name.endswith(".csv") else pd.read_parquet
        one, other = (read(folder / name).filter(regex="^(?!.*(lo|hi)$)") for folder in (keeping, again))  # without intervals
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    alone, columns = zeroed[zeroed["draw"] == 0].reset_index(drop=True), [*CELL, "nll", "log_ratio", "lo", "hi"]
    pd.testing.assert_frame_equal(perplexity(keeping)[columns], alone[columns], check_exact=True)


@pytest.mark.usefixtures("keeping")
@pytest.mark.parametrize(
    ("override", "evaluation"),
    [
        ("text.window=16", "perplexity"),
        ("text.documents=4", "perplexity"),
        ("cloze.stories=3", "story cloze"),
        ("model.context=100", "story cloze"),
        ("generation.tokens=4", "generation"),
        ("generation.samples=2", "generation"),
    ],
)
def test_what_is_read_otherwise_is_read_again_and_the_rest_is_not(override: str, evaluation: str, run, capsys) -> None:
    run(*KEEPING, override)
    found = found_cells(capsys)
    assert evaluation not in found
    assert len(found) == 2 or override.startswith(("text.window", "model.context"))
    assert all(known == asked for known, asked in found.values())


def test_under_another_intervention_the_full_model_is_not_read_again(keeping, run, capsys) -> None:
    regions = pd.read_parquet(keeping / "key_neurons.parquet")
    run(*KEEPING, "intervention=mean")
    empty = len(CODES) - regions["language"].nunique()  # without neurons they, and their controls, are the full model too
    known, asked = found_cells(capsys)["perplexity"]
    assert asked == 99
    assert known == 9 + (9 + 1) * empty


@pytest.mark.parametrize("name", ["mean", "others"])
def test_another_intervention_changes_the_regions_and_leaves_the_full_model(name: str, run, zeroed: pd.DataFrame) -> None:
    found = perplexity(run(f"intervention={name}"))
    assert found[CELL].equals(zeroed[CELL])
    full = zeroed[zeroed["deactivated"] == "none"].set_index("language")["nll"]
    has_neurons = zeroed["nll"] != zeroed["language"].map(full)
    assert found.loc[~has_neurons, "nll"].tolist() == zeroed.loc[~has_neurons, "nll"].tolist()
    assert (found.loc[has_neurons, "nll"] != zeroed.loc[has_neurons, "nll"]).all()
    assert has_neurons.sum() > 9


def test_every_dose_is_a_row_and_a_dose_of_nothing_is_the_full_model(run, zeroed: pd.DataFrame) -> None:
    folder = run("intervention.doses=[0,0.5,1]")
    found = perplexity(folder)
    rows = found.set_index(CELL)["nll"].sort_index()
    full = found[found["deactivated"] == "none"].set_index("language")["nll"]
    assert len(found) == 9 + 3 * (9 + 2) * 9
    at_one = zeroed.set_index(CELL)["nll"]
    for (name, draw, matches, language), of_doses in rows.drop("none").groupby(level=CELL[:3] + CELL[4:]):
        assert of_doses[name, draw, matches, 0.0, language] == full[language]
        assert of_doses[name, draw, matches, 1.0, language] == at_one[name, draw, matches, 1.0, language]
    doses = pd.read_csv(folder / "doses.csv").set_index("dose")
    assert doses.index.tolist() == [0, 0.5, 1] and not doses.loc[0].any()
    effects, metrics = pd.read_csv(folder / "effects.csv"), json.loads((folder / "metrics.json").read_text())
    assert doses.loc[1, ["own", "spill", "control"]].tolist() == pytest.approx(
        effects[["own", "spill", "control"]].mean().tolist()
    )
    assert doses.loc[1, "selectivity_lo"] == pytest.approx(metrics["selectivity_lo"])
    rises = found[found["dose"] == 0.5].query("deactivated == language")
    assert doses.loc[0.5, "own"] == pytest.approx(rises["log_ratio"].mean()) and (doses["own_lo"] <= doses["own"]).all()


def test_every_region_has_random_neurons_that_match_it_on_its_own_language(zeroed: pd.DataFrame) -> None:
    random = zeroed[zeroed["deactivated"] == "random"]
    assert len(zeroed) == 9 * (1 + 9 + 2)
    assert (random["matches"] == random["language"]).all()
    assert random.groupby("matches", sort=False)["draw"].agg(list).to_dict() == {code: [0, 1] for code in CODES}


def test_the_paper_s_control_stands_beside_those_that_match_or_alone(run, zeroed: pd.DataFrame) -> None:
    beside, alone = perplexity(run("control.paper=1")), perplexity(run("control.match=uniform", "control.draws=1"))
    assert len(beside) == 9 * (1 + 9 + 1 + 2)
    assert len(alone) == 9 * (1 + 9 + 1)
    of_paper = beside[(beside["deactivated"] == "random") & (beside["matches"] == "")]
    assert of_paper["language"].tolist() == CODES
    assert of_paper["nll"].tolist() == alone[alone["deactivated"] == "random"]["nll"].tolist()
    whole = [*of_paper.index, *beside.index[beside["matches"] != ""]]
    for found in (beside.drop(whole), alone[alone["deactivated"] != "random"]):
        assert found["nll"].tolist() == zeroed[zeroed["deactivated"] != "random"]["nll"].tolist()


def test_effects_and_selectivity_follow_from_the_windows(run) -> None:
    folder = run("control.draws=3")
    table, found = pd.read_csv(folder / "effects.csv"), json.loads((folder / "metrics.json").read_text())
    rows = perplexity(folder).query("deactivated in @CODES").pivot(index="language", columns="deactivated", values="log_ratio")
    rise_GG = rows.loc[CODES, CODES].to_numpy()
    spill_G = (rise_GG.sum(axis=0) - np.diag(rise_GG)) / 8
    assert table["language"].tolist() == CODES
    assert table["own"].tolist() == pytest.approx(np.diag(rise_GG))
    assert table["spill"].tolist() == pytest.approx(spill_G)
    assert found["selectivity"] == pytest.approx((np.diag(rise_GG) - spill_G).mean())
    assert found["selectivity_lo"] < found["selectivity"] < found["selectivity_hi"]
    assert (table["draws"] == 3).all()
    assert (table["own_lo"] <= table["own"]).all()
    assert 0 < found["selectivity_p"] <= 1


def test_without_uncertainty_there_are_no_intervals(run) -> None:
    folder = run("uncertainty=none")
    assert perplexity(folder).query("deactivated != 'none'")[["lo", "hi"]].eq("").all(axis=None)
    effects = pd.read_csv(folder / "effects.csv")
    assert effects[["own_lo", "selectivity_hi"]].isna().all(axis=None)
    assert not [name for name in effects if name.endswith(("_p", "_p_holm"))]
    assert "selectivity_lo" not in json.loads((folder / "metrics.json").read_text())


def test_the_user_s_own_intervention_is_found_in_the_working_directory(run, zeroed, tmp_path, monkeypatch) -> None:
    (tmp_path / "mine_of_tests.py").write_text(
        "def doubled(h_N, where_N, value_N, dose):\n    return h_N + dose * h_N * where_N\n"
    )
    monkeypatch.chdir(tmp_path)
    found = perplexity(run("intervention.name='mine_of_tests:doubled'"))
    assert not found["nll"].equals(zeroed["nll"])


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("intervention.name=zap", "intervention.name=zap: there is none of this name"),
        ("intervention.doses=[]", "one or more different doses are needed"),
        ("intervention.doses=[1,1]", "one or more different doses are needed"),
        ("tasks=[belebele_fra_Latm]", "tasks=belebele_fra_Latm"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_read(override: str, problem: str, run) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(override)
    assert problem in str(stopped.value.code)
    assert "Remedy: " in str(stopped.value.code)


TASK = """task: capitals
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: question
doc_to_choice: choices
doc_to_target: answer
metric_list: [{{metric: acc}}]
"""


def test_tasks_are_a_stage_of_their_own_under_every_region(run, tmp_path: Path) -> None:
    rows = [{"question": f"The capital of land {n} is", "choices": ["one", "two"], "answer": n % 2} for n in range(4)]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "capitals.yaml").write_text(TASK.format(data=tmp_path / "data.jsonl"))
    folder = run("stages=[capture,probe,tasks]", f"tasks=[{tmp_path / 'capitals.yaml'}]")
    found = pd.read_csv(folder / "tasks.csv", keep_default_na=False)
    assert list(found)[:8] == ["task", "deactivated", "draw", "dose", "metric", "value", "stderr", "items"]
    assert found["deactivated"].unique().tolist() == ["none", "en", "zh", "fr", "es", "pt", "ar", "vi", "hi", "id", "random"]
    assert found["items"].unique().tolist() == [4]
    assert all(math.isclose(4 * value, round(4 * value)) for value in found["value"])
    assert "tasks" in json.loads((folder / "run.json").read_text())["stages"]


def test_without_tasks_the_stage_leaves_nothing(run) -> None:
    folder = run("stages=[capture,probe,tasks]")
    assert not (folder / "tasks.csv").exists()
    assert "tasks" not in json.loads((folder / "run.json").read_text())["stages"]
