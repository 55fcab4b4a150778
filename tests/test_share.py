"""Sharing a run: what goes into the folder, what stays at home, and what the hub is given."""

import base64
import json
import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pandas as pd
import pytest
import yaml
from huggingface_hub import constants

from lf_experiments import share
from lf_experiments.errors import InputError
from lf_experiments.runs.run import Run

SENTENCE = "The farmer | plants *a tree*."
NAME = "somebody/neurons"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run of two sentences, by hand."""
    folder = tmp_path / "run"
    monkeypatch.chdir(tmp_path)
    (folder / "figures").mkdir(parents=True)
    pd.DataFrame({"index": [0], "language": ["en"], "meaning": ["m"], "tokens": [5], "text": [SENTENCE]}).to_csv(
        folder / "samples.csv", index=False
    )
    pd.DataFrame({"layer": [0], "lrds": [0.25]}).to_csv(folder / "layers.csv", index=False)
    pd.DataFrame({"language": ["en"], "layer": [0], "neuron": [3]}).to_parquet(folder / "key_neurons.parquet")
    generations = {"deactivated": ["none"], "language": ["en"], "prompt": [SENTENCE], "text": ["and"], "repetition": [0.0]}
    pd.DataFrame(generations).to_csv(folder / "generations.csv", index=False)
    metrics = {
        "model": "tiny_*model*", "family": "tiny", "checkpoint": "final", "training_step": None, "num_parameters": 10,
        "num_layers": 1, "num_neurons": 4, "languages": ["en", "fr"], "sentences_per_language": 1, "lrds": 0.25,
        "lrds_lo": 0.2, "lrds_hi": 0.3, "perplexity": {"en": 10.0, "fr": 30.0},
    }  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(metrics))
    record = {
        "schema_version": 2,
        "status": "done",
        "overrides": [],
        "command": "python -m lf_experiments model.path=/home/somebody/secret/tiny",
        "started": "2026-11-26T10:00:00+00:00",
        "git_commit": None,
        "config": {"model": {"name": "tiny", "path": "/home/somebody/secret/tiny"}, "checkpoint": {"step": None}, "seed": 0},
        "versions": {"torch": "2"},
        "model": {"folder": "/home/somebody/secret/tiny"},
        "data": {"dataset": {"name": "ours", "fingerprint": "ab", "licence": "CC BY-SA 4.0"}},
        "stages": {},
        "warnings": ["~/data/en.txt has | few lines"],
    }
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "report.html").write_text("<p>/home/somebody/secret/tiny</p>")
    (folder / "figures" / "table2_generations.md").write_text(SENTENCE)
    return folder


def with_licence(folder: Path, licence: str) -> Path:
    record = json.loads((folder / "run.json").read_text())
    record["data"]["dataset"]["licence"] = licence
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def shared(folder: Path) -> Path:
    assert share.main([str(folder), NAME, "--dry-run"]) == 0
    return Path("shared") / NAME


def card(out: Path) -> tuple[dict, str]:
    """The card's facts for the hub, and what it says to readers."""
    _, head, text = (out / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(head), text


def test_tables_become_subsets_that_are_what_the_run_has(folder: Path) -> None:
    out = shared(folder)
    head, text = card(out)
    assert head["license"] == "cc-by-sa-4.0"
    assert head["language"] == ["en", "fr"]
    assert {part["config_name"]: part["data_files"] for part in head["configs"]} == {
        "generations": "generations.csv", "key_neurons": "key_neurons.parquet", "layers": "layers.csv", "samples": "samples.csv"
    }  # fmt: skip
    for part in head["configs"]:
        assert (out / part["data_files"]).read_bytes() == (folder / part["data_files"]).read_bytes()
    assert "| LRDS | 0.2500 (0.2000, 0.3000) |" in text
    assert "| Perplexity | 20.00 |" in text
    assert "under CC BY-SA 4.0" in text
    assert (out / "figures" / "table2_generations.md").exists()


def test_the_hub_can_load_a_subset(folder: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.load_dataset(str(shared(folder)), "layers", cache_dir=str(tmp_path / "cache"))["train"]
    assert rows[0] == {"layer": 0, "lrds": 0.25}


def test_no_path_of_this_machine_is_shared(folder: Path) -> None:
    out = shared(folder)
    for path in (path for path in out.rglob("*") if path.suffix in (".md", ".json", ".html", ".csv")):
        content = path.read_text(encoding="utf-8")
        assert "secret" not in content, path
        assert "~/data" not in content, path
    record = json.loads((out / "run.json").read_text())
    assert record["config"]["model"]["path"] == ".../tiny"
    assert record["command"] == "python -m lf_experiments .../tiny"


def test_markup_of_a_name_or_a_warning_counts_for_nothing(folder: Path) -> None:
    _, text = card(shared(folder))
    assert r"**tiny\_\*model\***" in text
    assert r"* .../en.txt has \| few lines" in text


@pytest.mark.parametrize("licence", ["", "all rights reserved"])
def test_sentences_of_an_unknown_licence_stay_at_home(folder: Path, licence: str) -> None:
    out = shared(with_licence(folder, licence))
    assert list(pd.read_csv(out / "samples.csv").columns) == ["index", "language", "meaning", "tokens"]
    assert list(pd.read_csv(out / "generations.csv").columns) == ["deactivated", "language", "repetition"]
    assert not (out / "report.html").exists()
    assert not (out / "figures").exists()
    assert not any(SENTENCE in path.read_text(encoding="utf-8") for path in out.rglob("*") if path.suffix in (".md", ".csv"))
    head, text = card(out)
    assert head["license"] == ("other" if licence else "unknown")
    assert "they, the report and the figures are left out" in text


def test_what_was_shared_before_is_replaced_and_what_is_anothers_is_not(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = shared(folder)
    (folder / "layers.csv").unlink()
    assert "layers.csv" in {path.name for path in out.iterdir()}
    assert "layers.csv" not in {path.name for path in shared(folder).iterdir()}
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.tex").write_text("mine")
    assert share.main([str(folder), NAME, "--dry-run", "--out", str(other)]) == 1
    assert "the folder is not empty, and nothing was shared from it" in capsys.readouterr().err
    assert (other / "chapter.tex").read_text() == "mine"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "run.json").unlink(), "it has no run.json and metrics.json"),
        (lambda folder: shutil.rmtree(folder), "it has no run.json and metrics.json"),
        (
            lambda folder: (folder / "run.json").write_text((folder / "run.json").read_text().replace('"done"', '"running"')),
            "its status is running",
        ),
    ],
)
def test_only_a_finished_run_is_shared(folder: Path, damage, said: str, capsys: pytest.CaptureFixture) -> None:
    damage(folder)
    assert share.main([str(folder), NAME, "--dry-run"]) == 1
    assert said in capsys.readouterr().err
    assert not Path("shared").exists()


@pytest.mark.parametrize(
    ("name", "said"), [("neurons", "it lacks its organisation"), ("a/b/c", "this is no name of a dataset")]
)
def test_a_name_that_the_hub_cannot_have(folder: Path, name: str, said: str, capsys: pytest.CaptureFixture) -> None:
    assert share.main([str(folder), name]) == 1
    assert said in capsys.readouterr().err


# The hub ------------------------------------------------------------------------------------------------------------------


class Hub(ThreadingHTTPServer):
    """A hub on this machine that takes datasets, or does not."""

    def __init__(self, refuses: bool) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.refuses = refuses
        self.created: list[dict] = []
        self.files: dict[str, bytes] = {}


class Request(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.refuses:
            return self.answer({"error": "You may not write here"}, 403)
        if self.path == "/api/repos/create":
            self.server.created.append(json.loads(body))
            return self.answer({"url": f"http://127.0.0.1:{self.server.server_port}/datasets/{NAME}"})
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            return self.answer(
                {"files": [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in files]}
            )
        if "/commit/" in self.path:
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    self.server.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            return self.answer({"commitUrl": f"http://127.0.0.1/datasets/{NAME}/commit/1", "commitOid": "1", "success": True})
        return self.answer({})

    def do_GET(self) -> None:
        if self.server.refuses:
            return self.answer({"error": "You may not read here"}, 403)
        return self.answer({"id": NAME, "sha": "0", "siblings": [], "private": True, "tags": [], "downloads": 0, "likes": 0})

    def answer(self, content: dict, status: int = 200) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(params=[False])
def hub(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub(refuses=request.param)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_nobody")
    yield server
    server.shutdown()
    server.server_close()


def test_the_hub_gets_the_folder_byte_for_byte(folder: Path, hub: Hub, capsys: pytest.CaptureFixture) -> None:
    assert share.main([str(folder), NAME, "--private"]) == 0
    created = hub.created[0]
    assert (created["name"], created["organization"], created["type"]) == ("neurons", "somebody", "dataset")
    out = Path("shared") / NAME
    assert hub.files == {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"/datasets/{NAME}")


@pytest.mark.parametrize("hub", [True], indirect=True)
def test_a_hub_that_refuses(folder: Path, hub: Hub, capsys: pytest.CaptureFixture) -> None:
    assert share.main([str(folder), NAME]) == 1
    message = " ".join(capsys.readouterr().err.split())
    assert f"REPOSITORY={NAME}: the hub does not take it" in message
    assert f"the folder is ready in {Path('shared') / NAME}" in message
    assert not hub.files


def test_without_a_network_the_folder_is_ready(folder: Path) -> None:
    out = share.write_shared_folder(Run(folder), folder / "shared", NAME)
    with pytest.raises(InputError, match="the hub does not take it"):
        share.upload(out, NAME, private=False)
