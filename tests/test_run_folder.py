"""The record of a run: true while it lasts, whatever its end, and which stages are done."""

import json
import logging
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lf_experiments.errors import InputError
from lf_experiments.runs import provenance
from lf_experiments.runs.differences import differences
from lf_experiments.runs.folder import RunFolder
from lf_experiments.runs.metrics import Metrics
from lf_experiments.runs.provenance import git_commit, peak_memory_bytes
from lf_experiments.runs.run import Run
from lf_experiments.runs.unfinished import Unfinished
from lf_experiments.storage import fingerprint, write_json


@dataclass(frozen=True)
class Made:
    """A stage made from some inputs; it leaves no file unless told."""

    name: str
    inputs: Any = 0
    leaves: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.inputs)


SAMPLES = ("samples.csv",)
CAPTURE = Made("capture", {"seed": 0}, SAMPLES)
REPORT = Made("report", 0, ("report.html",))
TABLE = pd.DataFrame({"language": ["en"]})


def record(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


def captured(folder: Path, config: dict | None = None) -> RunFolder:
    """A run folder in which the capture is done."""
    run = RunFolder(folder)
    with run.recorded(config or {}, []):
        run.claim([CAPTURE], REPORT)
        with run.stage(CAPTURE) as scores:
            scores["num_layers"] = 3
            run.write_table("samples.csv", TABLE)
    return run


def test_the_record_is_true_at_every_moment(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with run.recorded({"seed": 0}, ["seed=0", "a=[b, c]"]):
        assert record(tmp_path)["status"] == "running"
        with run.stage(Made("probe")) as scalars:
            scalars["sklr"] = 7
            assert record(tmp_path)["stages"] == {}
        assert record(tmp_path)["stages"]["probe"]["scalars"] == {"sklr": 7}
    assert (record(tmp_path)["status"], record(tmp_path)["command"]) == ("done", "python -m lf_experiments seed=0 'a=[b, c]'")


@pytest.mark.parametrize("error", [RuntimeError("it broke"), KeyboardInterrupt()])
def test_a_failure_is_recorded_and_passed_on(tmp_path: Path, error: BaseException) -> None:
    run = RunFolder(tmp_path)
    with pytest.raises(type(error)), run.recorded({}, []), run.stage(Made("probe")):
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
    run = captured(tmp_path)
    assert run.is_done(CAPTURE)
    assert not run.is_done(Made("capture", {"seed": 1}, SAMPLES))
    assert not run.is_done(Made("compare", {"seed": 0}))
    again = RunFolder(tmp_path)
    with again.recorded({}, []):
        again.claim([CAPTURE], REPORT)
        assert again.is_done(CAPTURE)
        (tmp_path / "samples.csv").unlink()
        assert not again.is_done(CAPTURE)


def test_a_removed_stage_leaves_no_file_and_no_score(tmp_path: Path) -> None:
    assert captured(tmp_path).done()["capture"]["scalars"]["num_layers"] == 3
    run = RunFolder(tmp_path)
    with run.recorded({}, []):
        run.claim([Made("capture", {"seed": 1}, SAMPLES)], REPORT, overwrite=True)
        assert run.done() == {}
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
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    (tmp_path / "provenance.py").touch()
    assert git_commit() is None


def test_what_an_interrupted_stage_has_left_is_found_by_the_same_inputs_alone(tmp_path: Path) -> None:
    rows = [{"language": "en", "nll": 0.1 + 0.2}]
    more = [{"language": "fr", "text": "l'été\u2028"}, {"language": "fr", "text": "\n"}]
    run, stage = RunFolder(tmp_path), Made("deactivate", {"seed": 0})
    with pytest.raises(KeyboardInterrupt), run.recorded({}, []), run.stage(stage):
        run.unfinished(stage).keep(rows)
        run.unfinished(stage).keep(more)
        raise KeyboardInterrupt
    again = RunFolder(tmp_path)
    assert again.unfinished(stage).kept == rows + more
    assert again.unfinished(Made("deactivate", {"seed": 1})).kept == []
    with again.recorded({}, []), again.stage(stage):
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
    code = "from lf_experiments.runs.provenance import peak_memory_bytes as peak; print(peak())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(child.stdout) < grown  # a small child of a large parent


def test_a_generated_text_of_digits_alone_stays_a_text(tmp_path: Path) -> None:
    rows = {"deactivated": ["none", "en"], "language": ["en", "en"], "prompt": ["1", "1"], "text": ["007", ""]}
    RunFolder(tmp_path).write_table("generations.csv", pd.DataFrame(rows))
    assert list(Run(tmp_path).generations["text"]) == ["007", ""]


# Results of other inputs ------------------------------------------------------------------------------------------------

BEFORE = {"model": {"name": "m", "dtype": "auto"}, "seed": 0}
AFTER = {"model": {"name": "m", "dtype": "bfloat16"}, "seed": 0}
OTHER = Made("capture", {"seed": 1}, SAMPLES)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_results_of_other_inputs_are_refused_and_nothing_is_touched(tmp_path: Path) -> None:
    captured(tmp_path, BEFORE)
    before = content(tmp_path)
    run = RunFolder(tmp_path)
    with pytest.raises(InputError) as refused, run.recorded(AFTER, []):
        assert record(tmp_path)["config"] == BEFORE  # until it is known whose results these are
        run.claim([OTHER], REPORT)
    message = str(refused.value)
    assert message.startswith(
        f"hydra.run.dir={tmp_path}: it holds results of other inputs (capture): model.dtype auto -> bfloat16"
    )
    assert message.endswith("Remedy: give another folder, or overwrite=true to replace what is there")
    assert content(tmp_path) == before


def test_a_refused_job_of_a_sweep_has_failed_and_its_results_stay(tmp_path: Path) -> None:
    captured(tmp_path, BEFORE)
    run = RunFolder(tmp_path)
    with pytest.raises(InputError), run.recorded(AFTER, [], is_job=True):
        run.claim([OTHER], REPORT)
    assert record(tmp_path)["status"] == "failed"
    assert "model.dtype auto -> bfloat16" in record(tmp_path)["error"]
    assert (record(tmp_path)["config"], list(record(tmp_path)["stages"])) == (BEFORE, ["capture"])
    assert (tmp_path / "samples.csv").is_file()


def test_results_are_replaced_where_that_is_allowed_and_what_was_made_of_them_goes_too(tmp_path: Path) -> None:
    run = captured(tmp_path)
    (tmp_path / "figures").mkdir()
    with run.recorded({}, []):
        run.claim([CAPTURE], REPORT)
        with run.stage(REPORT):
            for name in ("report.html", "figures/ours.png", "figures/mine.png"):
                (tmp_path / name).touch()
            run.further_files.append("figures/ours.png")
    again = RunFolder(tmp_path)
    with again.recorded({}, []):
        again.claim([OTHER, Made("compare")], REPORT, overwrite=True)
        assert again.record["stages"] == {}
    assert set(content(tmp_path)) == {".lock", "run.json", "figures/mine.png"}
    warnings = record(tmp_path)["warnings"]
    assert warnings == [
        f"overwrite=true: removed {names}, made from other inputs" for names in ("samples.csv", "figures/ours.png, report.html")
    ]


def test_a_stage_that_was_never_done_needs_no_permission(tmp_path: Path) -> None:
    captured(tmp_path, BEFORE)
    run, more = RunFolder(tmp_path), Made("compare", 1, ("layers.csv",))
    with run.recorded(BEFORE, []):
        run.claim([CAPTURE, more], REPORT)
        assert (run.is_done(CAPTURE), run.is_done(more)) == (True, False)


def test_what_an_interrupted_stage_has_left_may_be_replaced(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with pytest.raises(KeyboardInterrupt), run.recorded({}, []):
        run.claim([CAPTURE], REPORT)
        with run.stage(CAPTURE):
            run.write_table("samples.csv", TABLE)
            raise KeyboardInterrupt
    again = RunFolder(tmp_path)
    with again.recorded({}, []):
        again.claim([OTHER], REPORT)
    assert not (tmp_path / "samples.csv").exists()


def test_a_stage_that_is_interrupted_as_it_is_done_again_is_no_damage(tmp_path: Path) -> None:
    captured(tmp_path)
    run = RunFolder(tmp_path)
    with pytest.raises(KeyboardInterrupt), run.recorded({}, []):
        run.claim([CAPTURE], REPORT)
        with run.stage(CAPTURE):
            run.write_table("samples.csv", pd.DataFrame({"language": ["half"]}))
            raise KeyboardInterrupt
    again = RunFolder(tmp_path)
    with again.recorded({}, []):
        again.claim([CAPTURE], REPORT)
        assert again.done() == {}
    assert record(tmp_path)["warnings"] == []
    assert set(content(tmp_path)) == {".lock", "run.json"}


@pytest.mark.parametrize("name", ["samples.csv", "report.html", "metrics.json"])
def test_files_that_no_record_explains_are_somebody_elses(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    for _ in range(2):
        run = RunFolder(tmp_path)
        with (
            pytest.raises(InputError, match=f"it has {name}, and no run.json says what they were made from"),
            run.recorded({}, []),
        ):
            run.claim([CAPTURE], REPORT)
        assert {name: b"mine"} == {name: found for name, found in content(tmp_path).items() if name != ".lock"}
    with run.recorded({}, []):
        run.claim([CAPTURE], REPORT, overwrite=True)
    assert not (tmp_path / name).exists()


# Results that were changed ----------------------------------------------------------------------------------------------


def test_a_file_that_was_changed_is_set_aside_and_its_stage_is_undone(tmp_path: Path) -> None:
    captured(tmp_path)
    (tmp_path / "samples.csv").write_text("language\nfr\n")
    run = RunFolder(tmp_path)
    with run.recorded({}, []):
        run.claim([CAPTURE], REPORT)
        assert not run.is_done(CAPTURE)
        with run.stage(CAPTURE):
            run.write_table("samples.csv", TABLE)
        assert run.is_done(CAPTURE)
    assert (tmp_path / "samples.changed.csv").read_text() == "language\nfr\n"
    assert record(tmp_path)["warnings"] == [
        "samples.csv was changed since capture wrote it: kept as samples.changed.csv, and not used"
    ]
    assert record(tmp_path)["stages"]["capture"]["files"]["samples.csv"]["bytes"] == len("language\nen\n")


def test_a_file_of_the_same_size_is_changed_too(tmp_path: Path) -> None:
    captured(tmp_path)
    (tmp_path / "samples.csv").write_text("language\nfn\n")
    run = RunFolder(tmp_path)
    with run.recorded({}, []):
        run.claim([CAPTURE], REPORT)
        assert run.done() == {}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    captured(tmp_path)
    (tmp_path / "samples.csv").unlink()
    run = RunFolder(tmp_path)
    with run.recorded({}, []):
        run.claim([CAPTURE], REPORT)
        assert run.done() == {}
    assert record(tmp_path)["warnings"] == ["samples.csv is missing: capture is not done any more"]


def test_rows_of_an_interrupted_stage_that_are_damaged_are_computed_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / ".deactivate-0.jsonl"
    for damaged in (b'[{"a": 1}, {"b\n', b"\xff\xfe\n", b"{}\n", b"[1]\n", b"\n"):
        caplog.clear()
        path.write_bytes(b'[{"a": 1}]\n' + damaged + b'[{"b": 2}]\n')
        assert Unfinished(path).kept == [{"a": 1}]
        assert ".deactivate-0.jsonl is damaged" in caplog.text
        Unfinished(path).keep([{"c": 3}])
        assert Unfinished(path).kept == [{"a": 1}, {"c": 3}]


def test_a_row_that_was_being_written_when_the_process_was_killed_is_computed_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / ".deactivate-0.jsonl"
    for torn in (b"[", b'[{"b": 2}, {"c"', b'[{"b": 2}]', b"\xe6\xb0"):
        path.write_bytes(b'[{"a": 1}]\n' + torn)
        assert Unfinished(path).kept == [{"a": 1}]
        Unfinished(path).keep([{"c": 3}])
        assert Unfinished(path).kept == [{"a": 1}, {"c": 3}]
    assert not caplog.messages


# A record that cannot be read -------------------------------------------------------------------------------------------

VALID = {
    "schema_version": 2,
    "status": "done",
    "overrides": [],
    "config": {"model": {"name": "m"}, "checkpoint": {"step": None}},
    "stages": {},
    "model": {},
    "data": {},
}


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (b"", "it cannot be read: "),
        (b'{"schema_version": 2, "sta', "it cannot be read: "),
        (b"\x80\x03}q", "it cannot be read: "),
        (b"[]", "it cannot be read: not the record of a run"),
        (b"{}", "it cannot be read: not the record of a run"),
        (json.dumps({**VALID, "stages": None}).encode(), "it cannot be read: not the record of a run"),
        (json.dumps({**VALID, "stages": {"capture": 1}}).encode(), "it cannot be read: not the record of a run"),
        (
            json.dumps({**VALID, "stages": {"x": {"inputs": "", "files": {"../a": {}}}}}).encode(),
            "it cannot be read: not the record of a run",
        ),
        (json.dumps({**VALID, "schema_version": 99}).encode(), "a later version of lf_experiments wrote it (schema 99)"),
    ],
)
def test_a_record_that_cannot_be_read_is_named_with_the_remedy(tmp_path: Path, found: bytes, problem: str) -> None:
    (tmp_path / "run.json").write_bytes(found)
    run = RunFolder(tmp_path)
    for _ in range(2):
        with pytest.raises(InputError) as error, run.recorded({}, []):
            pass
        assert str(error.value).startswith(f"run.json={tmp_path / 'run.json'}: {problem}")
        assert "another" in str(error.value).partition("Remedy: ")[2]
        assert (tmp_path / "run.json").read_bytes() == found
    with pytest.raises(InputError):
        _ = Run(tmp_path).record
    with run.recorded({}, [], overwrite=True):
        run.claim([CAPTURE], REPORT, overwrite=True)
    assert record(tmp_path)["status"] == "done"
    assert record(tmp_path)["warnings"][0].startswith("overwrite=true: run.json is replaced: ")


def test_a_folder_of_an_earlier_version_is_read_and_not_computed_into(tmp_path: Path) -> None:
    old = {**VALID, "schema_version": 1, "stages": {"capture": {"inputs": "00ff", "scalars": {"num_layers": 3}}}}
    old["data"] = {"dataset": {"name": "d", "fingerprint": "1", "licence": ""}, "text": {"fingerprint": fingerprint({})}}
    write_json(tmp_path / "run.json", old)
    (tmp_path / "samples.csv").touch()
    read = Run(tmp_path).record
    assert list(read["data"]) == ["dataset"]  # the text was not read
    assert read["stages"]["capture"]["scalars"] == {"num_layers": 3}
    run = RunFolder(tmp_path)
    with pytest.raises(InputError, match="an earlier version of lf_experiments made them"), run.recorded({}, []):
        run.claim([CAPTURE], REPORT)
    assert record(tmp_path) == old


# How inputs differ ------------------------------------------------------------------------------------------------------


def differing(before: dict, after: dict, model: str = "w", data: str = "d") -> str:
    old = {"schema_version": 2, "config": before, "model": {"weight_fingerprint": "w"}, "data": {"text": {"fingerprint": "d"}}}
    new = {**old, "config": after, "model": {"weight_fingerprint": model}, "data": {"text": {"fingerprint": data}}}
    return differences(old, new)


def test_differences_are_named_by_their_keys() -> None:
    before = {"seed": 0, "model": {"name": "a", "path": None, "tags": [1, 2]}, "runtime": {"batch_tokens": 1}, "text": {"x": 1}}
    assert differing(before, {**before, "seed": 7}) == "seed 0 -> 7"
    assert differing(before, {**before, "model": {**before["model"], "path": "/m", "tags": [1]}}) == (
        "model.path null -> /m, model.tags [1,2] -> [1]"
    )
    assert differing(before, {**before, "model": {"name": "b", "path": "/m"}, "runtime": {}}) == "model.name a -> b"
    long = differing(before, {**before, "text": {"x": "y" * 500}})
    assert long.startswith("text.x 1 -> yyy")
    assert len(long) < 80
    many = differing({f"k{number}": 0 for number in range(9)}, {f"k{number}": 1 for number in range(9)})
    assert many == f"{', '.join(f'k{number} 0 -> 1' for number in range(6))} and 3 more"


def test_files_are_named_where_no_key_explains_them() -> None:
    before = {"model": {"dtype": "auto"}, "text": {"window": 1}}
    assert differing(before, before, model="v") == "the weights changed"
    assert differing(before, {**before, "text": {"window": 2}}, "v", "e") == "text.window 1 -> 2, the weights changed"
    assert differing(before, {**before, "model": {"dtype": "float16"}}, model="v") == "model.dtype auto -> float16"
    assert differing(before, before) == "another version of lf_experiments made them"


# The scores -------------------------------------------------------------------------------------------------------------


def metrics(scores: dict) -> Metrics:
    facts = {"model": "m", "family": "f", "checkpoint": "final", "training_step": None}
    return Metrics.of(scores, **facts, languages=["en"], sentences_per_language=2)


def test_metrics_come_with_the_first_result(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with run.recorded({}, []):
        run.claim([CAPTURE], REPORT)
        run.write_metrics(metrics({}))
        assert not (tmp_path / "metrics.json").exists()
    run = captured(tmp_path)
    run.write_metrics(metrics({"num_layers": 3, "lrds": 0.5, "lrds_lo": 0.4, "lrds_hi": 0.6}))
    found = Run(tmp_path).metrics
    assert (found.num_layers, found.num_neurons, found["lrds"], found.interval("lrds")) == (3, None, 0.5, (0.4, 0.6))
    assert "num_layers" not in found.scores
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert (written["sads"], written["perplexity"], written["family"]) == (None, {}, "f")
