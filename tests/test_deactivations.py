"""Interventions, doses and tasks as a user chooses them: from the command to the tables."""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lf_experiments import __main__ as command

SHORT = (
    "experiment=smoke",
    "dataset.sentences=6",
    "stages=[capture,probe,deactivate]",
    "probe.threshold=1.5",
    "text.documents=3",
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
