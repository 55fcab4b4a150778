"""The record of a run: true while it lasts, whatever its end, and which stages are done."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from lf_experiments.results import run_folder
from lf_experiments.results.figures.table2_generations import samples
from lf_experiments.results.run_folder import RunFolder, git_commit, peak_memory_bytes


def record(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


def test_the_record_is_true_at_every_moment(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with run.recorded({"seed": 0}, ["seed=0", "a=[b, c]"]):
        assert record(tmp_path)["status"] == "running"
        with run.stage("probe", [1]) as scalars:
            scalars["sklr"] = 7
            assert record(tmp_path)["stages"] == {}
        assert record(tmp_path)["stages"]["probe"]["scalars"] == {"sklr": 7}
    assert (record(tmp_path)["status"], record(tmp_path)["command"]) == ("done", "python -m lf_experiments seed=0 'a=[b, c]'")


@pytest.mark.parametrize("error", [RuntimeError("it broke"), KeyboardInterrupt()])
def test_a_failure_is_recorded_and_passed_on(tmp_path: Path, error: BaseException) -> None:
    run = RunFolder(tmp_path)
    with pytest.raises(type(error)), run.recorded({}, []), run.stage("probe", [1]):
        raise error
    assert record(tmp_path)["status"] == "failed"
    assert record(tmp_path)["error"] == f"{type(error).__name__}: {error}"
    assert record(tmp_path)["stages"] == {}


def test_warnings_of_the_package_are_kept_once_and_only_while_the_run_lasts(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    log = logging.getLogger("lf_experiments.anything")
    with run.recorded({}, []):
        for _ in range(2):
            log.warning("out of %s", "memory")
        log.info("not a warning")
        logging.getLogger("elsewhere").warning("not ours")
    log.warning("too late")
    assert record(tmp_path)["warnings"] == ["out of memory"]


def test_a_stage_is_done_when_its_files_are_there_and_its_inputs_the_same(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with run.recorded({}, []):
        with run.stage("capture", {"seed": 0}):
            run.write_table("samples.csv", pd.DataFrame({"language": ["en"]}))
        assert run.is_done("capture", {"seed": 0})
        assert not run.is_done("capture", {"seed": 1})
        assert not run.is_done("compare", {"seed": 0})
    again = RunFolder(tmp_path)
    with again.recorded({}, []):
        assert again.is_done("capture", {"seed": 0})
        (tmp_path / "samples.csv").unlink()
        assert not again.is_done("capture", {"seed": 0})


def test_a_forgotten_stage_leaves_no_file_and_no_scalar(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with run.recorded({}, []):
        with run.stage("capture", 0) as scalars:
            scalars["num_layers"] = 3
            run.write_table("samples.csv", pd.DataFrame({"language": ["en"]}))
        assert run.scalar("capture", "num_layers") == 3
        run.forget("capture")
        assert run.scalar("capture", "num_layers") is None
    assert not (tmp_path / "samples.csv").exists()


def test_tables_come_back_as_they_were_written(tmp_path: Path) -> None:
    table = pd.DataFrame({"language": ["na", "null"], "text": ['a "b", c\nd', "NaN"], "lrds": [0.1, None]})
    run = RunFolder(tmp_path)
    for name in ("layers.csv", "key_neurons.parquet"):
        run.write_table(name, table)
        pd.testing.assert_frame_equal(run.read_table(name), table, check_dtype=False)


def test_a_generated_text_stays_in_its_cell_whatever_a_model_writes(tmp_path: Path) -> None:
    control = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, 0xFEFF, 0xFFFD)]
    texts = [text for letter in control for text in (letter, f"a{letter}", f"{letter}b", f'a{letter}"b,\n{letter}')]
    run = RunFolder(tmp_path)
    for text in texts:
        table = pd.DataFrame({"deactivated": ["none", "en"], "text": [text, "next"], "repetition": [0.5, 0.0]})
        run.write_table("generations.csv", table)
        pd.testing.assert_frame_equal(run.read_table("generations.csv"), table)


def test_the_commit_is_that_of_our_own_source_tree() -> None:
    found = git_commit()
    source = Path(__file__).parents[1]
    if (source / ".git").exists():
        head = subprocess.run(["git", "-C", str(source), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        assert found.removesuffix("-dirty") == head.stdout.strip()
    else:
        assert found is None


def test_somebody_elses_repository_has_no_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setattr(run_folder, "__file__", str(tmp_path / "run_folder.py"))
    (tmp_path / "run_folder.py").touch()
    assert git_commit() is None


def test_what_an_interrupted_stage_has_left_is_found_by_the_same_inputs_alone(tmp_path: Path) -> None:
    rows = [{"language": "en", "nll": 0.1 + 0.2}]
    run = RunFolder(tmp_path)
    with pytest.raises(KeyboardInterrupt), run.recorded({}, []), run.stage("deactivate", {"seed": 0}):
        run.unfinished("deactivate", {"seed": 0}).keep(rows)
        raise KeyboardInterrupt
    again = RunFolder(tmp_path)
    assert again.unfinished("deactivate", {"seed": 0}).kept == rows
    assert again.unfinished("deactivate", {"seed": 1}).kept == []
    with again.recorded({}, []), again.stage("deactivate", {"seed": 0}):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "run.json"}


def test_peak_memory_is_that_of_this_process_and_never_falls() -> None:
    before = peak_memory_bytes()
    assert before > 2**20
    block = bytearray(before + 2**26)
    grown = peak_memory_bytes()
    assert grown > before + 2**25
    del block
    assert peak_memory_bytes() == pytest.approx(grown, rel=0.01)
    code = "from lf_experiments.results.run_folder import peak_memory_bytes as peak; print(peak())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(child.stdout) < grown  # a small child of a large parent


def test_a_generated_text_of_digits_alone_stays_a_text(tmp_path: Path) -> None:
    rows = {"deactivated": ["none", "en"], "language": ["en", "en"], "prompt": ["1", "1"], "text": ["007", ""]}
    RunFolder(tmp_path).write_table("generations.csv", pd.DataFrame(rows))
    assert list(samples(tmp_path)["text"]) == ["007", ""]
