"""Models of the hub: from a hub cache made by hand, as offline users have it, and from a small hub on this machine."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote

import pandas as pd
import pytest
import torch
from huggingface_hub import constants
from recorded import captured
from safetensors.torch import save_file
from transformers import BloomConfig, BloomForCausalLM

from lf_experiments import __main__ as command
from lf_experiments.config.schema import CheckpointConfig, Config, Dtype, HubModel, ModelConfig
from lf_experiments.errors import InputError
from lf_experiments.models.checkpoints import (
    fetch_checkpoint,
    hub_commit,
    hub_revision,
    training_step,
    training_tokens,
)
from lf_experiments.models.fingerprints import weight_fingerprint
from lf_experiments.models.load import Reader, fetch_tokenizer, load_model, load_reader

STEPS = [10, 20, 30]
FAULTY = {"incomplete": 40, "harmful": 50, "empty": 100}
HUB = HubModel(
    repository="org/tiny",
    checkpoint_repository="org/tiny-intermediate",
    checkpoint_revision="global_step{step}",
    steps=[*STEPS, *FAULTY.values()],
    tokens_per_step=512,
    known_bad={30: "the same as step 20"},
)
MODEL = ModelConfig(name="tiny", hub=HUB, dtype=Dtype.float32)


def at(step: int | None, model: ModelConfig = MODEL) -> Config:
    return Config(model=model, checkpoint=CheckpointConfig(step))


def reader_at(step: int | None, model: ModelConfig = MODEL) -> Reader:
    return load_reader(fetch_checkpoint(at(step, model)), model)


def message_of(action: Callable[[], object]) -> str:
    """What a user is told, on one line."""
    with pytest.raises(InputError) as error:
        action()
    return " ".join(str(error.value).split())


# What is published ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def bloom(awakened, tokenizer) -> Callable[[int | None], BloomForCausalLM]:
    """A tiny BLOOM at a step; steps 20 and 30 are the same."""

    def at_step(step: int | None) -> BloomForCausalLM:
        special = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": None, "eos_token_id": tokenizer.eos_token_id}
        model = awakened(
            BloomForCausalLM(BloomConfig(vocab_size=len(tokenizer), hidden_size=32, n_layer=3, n_head=4, **special))
        )
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_({None: 1, 10: 0.5, 20: 0.75, 30: 0.75}.get(step, 0.9))
        return model

    return at_step


class Harmful:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.marker),)


@pytest.fixture(scope="session")
def marker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("harm") / "done"


@pytest.fixture(scope="session")
def published(tmp_path_factory, bloom, tokenizer, marker) -> dict[tuple[str, str], Path]:
    """The files of every (repository, revision): those of the training steps are laid out as BLOOM's are.

    There, pickles have the keys of the base model, the configuration says so, and there is no tokenizer.
    """
    folders = {("org/tiny", "main"): tmp_path_factory.mktemp("main")}
    final = folders["org/tiny", "main"]
    bloom(None).save_pretrained(final)
    tokenizer.save_pretrained(final)
    torch.save(bloom(10).transformer.state_dict(), final / "pytorch_model.bin")
    for name in ("flax_model.msgpack", "tf_model.h5", "rust_model.ot", "model.gguf", "modeling_tiny.py", "README.md"):
        (final / name).write_text("not needed")
    folders["org/tiny", "sharded"] = tmp_path_factory.mktemp("sharded")
    bloom(None).save_pretrained(folders["org/tiny", "sharded"], max_shard_size="20KB")
    folders["org/tiny", "renamed"] = renamed_shards(folders["org/tiny", "sharded"], tmp_path_factory.mktemp("renamed"))
    for step in HUB.steps:
        folder = folders["org/tiny-intermediate", f"global_step{step}"] = tmp_path_factory.mktemp(f"step{step}")
        configuration = {
            **bloom(step).config.to_dict(),
            "architectures": ["BloomModel"],
            "n_inner": None,
            "masked_softmax_fusion": True,
        }
        (folder / "config.json").write_text(json.dumps(configuration))
        weights = dict(bloom(step).transformer.state_dict())
        if step == FAULTY["incomplete"]:
            del weights["h.1.mlp.dense_4h_to_h.weight"]
        if step == FAULTY["harmful"]:
            weights["h.1.mlp.dense_4h_to_h.weight"] = Harmful(marker)
        if step != FAULTY["empty"]:
            save_pickles(weights, folder, 2 if step in (20, 30) else 1)
    return folders


def renamed_shards(folder: Path, target: Path) -> Path:
    """The same weights in files that only their index names."""
    shutil.copytree(folder, target, dirs_exist_ok=True)
    index = target / "model.safetensors.index.json"
    names = {path.name: f"part[{number}].safetensors" for number, path in enumerate(sorted(target.glob("*.safetensors")))}
    for old, new in names.items():
        (target / old).rename(target / new)
    places = json.loads(index.read_text())
    places["weight_map"] = {weight: names[place] for weight, place in places["weight_map"].items()}
    index.write_text(json.dumps(places))
    return target


def save_pickles(weights: dict, folder: Path, shards: int) -> None:
    """Write weights as one pickle, or as several and an index that says which weight is where."""
    if shards == 1:
        torch.save(weights, folder / "pytorch_model.bin")
        return
    names = [f"pytorch_model-{number:05}-of-{shards:05}.bin" for number in range(1, shards + 1)]
    place = {weight: names[number % shards] for number, weight in enumerate(weights)}
    for name in names:
        torch.save({weight: weights[weight] for weight in weights if place[weight] == name}, folder / name)
    index = {"metadata": {"total_size": 0}, "weight_map": place}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


def commit_of(repository: str, revision: str) -> str:
    return hashlib.sha1(f"{repository}@{revision}".encode()).hexdigest()


def add_to_cache(cache: Path, repository: str, revision: str, source: Path) -> Path:
    """Lay the files of a revision down as the hub's library does: blobs, a snapshot that links to them, and a name for it."""
    entry = cache / f"models--{repository.replace('/', '--')}"
    snapshot = entry / "snapshots" / commit_of(repository, revision)
    for folder in (entry / "blobs", entry / "refs", snapshot):
        folder.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        blob = entry / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
        shutil.copyfile(path, blob)
        (snapshot / path.name).symlink_to(os.path.relpath(blob, snapshot))
    (entry / "refs" / revision).write_text(snapshot.name)
    return snapshot


@pytest.fixture(scope="session")
def filled_cache(published, tmp_path_factory) -> Path:
    cache = tmp_path_factory.mktemp("hub")
    for (repository, revision), source in published.items():
        add_to_cache(cache, repository, revision, source)
    return cache


@pytest.fixture(autouse=True)
def cache(filled_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache that the hub's library reads; that there is no network for it is set for all tests."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(filled_cache))
    return filled_cache


# Offline ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [10, 20, None])
def test_every_revision_gives_its_own_weights(bloom, step: int | None) -> None:
    expected = bloom(step).state_dict()
    found = reader_at(step).model.state_dict()
    assert set(found) == set(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_pickled_step_is_captured_like_the_same_weights_in_safetensors(bloom, tokenizer, sentences, tmp_path: Path) -> None:
    bloom(10).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    plain = load_reader(tmp_path, ModelConfig(name="plain", path=str(tmp_path), dtype=Dtype.float32))
    reader = reader_at(10)
    assert torch.equal(captured(reader, sentences, 300), captured(plain, sentences, 300))
    assert not torch.equal(captured(reader, sentences, 300), captured(reader_at(20), sentences, 300))
    assert reader.num_parameters == plain.num_parameters


def test_the_tokenizer_is_that_of_the_final_weights(cache: Path) -> None:
    folder = fetch_checkpoint(at(10))
    assert not list(folder.glob("tokenizer*"))
    assert fetch_tokenizer(folder, MODEL) == cache / "models--org--tiny" / "snapshots" / commit_of("org/tiny", "main")
    assert fetch_tokenizer(folder, replace(MODEL, tokenizer="/mine")) == Path("/mine")


def test_a_repository_of_its_own_for_the_tokenizer(cache: Path) -> None:
    hub = replace(HUB, repository="org/tiny-intermediate", revision="global_step20", tokenizer_repository="org/tiny")
    model = replace(MODEL, hub=hub)
    assert fetch_checkpoint(at(None, model)).name == commit_of("org/tiny-intermediate", "global_step20")
    assert fetch_tokenizer(cache, model).name == commit_of("org/tiny", "main")


def test_steps_may_be_in_the_repository_of_the_final_weights() -> None:
    model = replace(MODEL, hub=replace(HUB, repository="org/tiny-intermediate", checkpoint_repository=None))
    assert fetch_checkpoint(at(20, model)).name == commit_of("org/tiny-intermediate", "global_step20")


@pytest.mark.parametrize(("step", "billions"), [(0, 0), (1, 1), (250, 1), (251, 2), (1_000_000, 4000)])
def test_a_revision_may_say_its_tokens_in_billions_rounded_up(step: int, billions: int) -> None:
    hub = replace(HUB, checkpoint_revision="step{step}-tokens{billion_tokens}B", tokens_per_step=4_000_000)
    assert hub_revision(hub, step) == ("org/tiny-intermediate", f"step{step}-tokens{billions}B")


@pytest.mark.parametrize(("step", "billions"), [(0, 0), (1, 0), (250, 1), (499, 1), (1_000_000, 4000)])
def test_a_revision_may_say_its_tokens_in_billions_rounded_down(step: int, billions: int) -> None:
    hub = replace(HUB, checkpoint_revision="step{step}-tokens{full_billion_tokens}B", tokens_per_step=4_000_000)
    assert hub_revision(hub, step) == ("org/tiny-intermediate", f"step{step}-tokens{billions}B")


def test_a_step_may_have_a_revision_of_its_own() -> None:
    hub = replace(HUB, revisions={30: "global_step20", 35: "main"}, checkpoint_repository=None)
    assert [hub_revision(hub, step) for step in (10, 30, 35, None)] == [
        ("org/tiny", revision) for revision in ("global_step10", "global_step20", "main", "main")
    ]
    model = replace(MODEL, hub=replace(HUB, revisions={35: "global_step20"}))
    assert model.published_steps == [*STEPS, 35, *FAULTY.values()]
    assert fetch_checkpoint(at(35, model)).name == commit_of("org/tiny-intermediate", "global_step20")


def test_the_commit_is_that_of_the_revision() -> None:
    assert hub_commit(MODEL, fetch_checkpoint(at(20))) == commit_of("org/tiny-intermediate", "global_step20")
    assert hub_commit(ModelConfig(name="mine", path="/m"), Path("/m")) is None


def test_a_commit_is_a_revision_too() -> None:
    commit = commit_of("org/tiny", "main")
    assert fetch_checkpoint(at(None, replace(MODEL, hub=replace(HUB, revision=commit)))).name == commit


def test_duplicated_steps_have_the_same_fingerprint() -> None:
    fingerprints = {step: weight_fingerprint(fetch_checkpoint(at(step))) for step in (10, 20, 30, None)}
    assert fingerprints[20] == fingerprints[30]
    assert len(set(fingerprints.values())) == 3


def test_pickles_beside_safetensors_are_not_read(tmp_path: Path, published) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(published["org/tiny", "main"], alone, ignore=shutil.ignore_patterns("*.bin"))
    assert weight_fingerprint(alone) == weight_fingerprint(fetch_checkpoint(at(None)))


def test_training_tokens_are_the_step_times_its_tokens() -> None:
    assert training_tokens(None, CheckpointConfig(20), HUB) == 20 * 512
    assert training_tokens(None, CheckpointConfig(20), replace(HUB, tokens_per_step=None)) is None
    assert training_tokens(None, CheckpointConfig(None), HUB) is None
    assert (training_step(None, CheckpointConfig(20)), training_step(None, CheckpointConfig(None))) == (20, None)


# What can be wrong with it ------------------------------------------------------------------------------------------------


def test_a_revision_that_is_not_cached(cache: Path) -> None:
    model = replace(MODEL, hub=replace(HUB, steps=[10, 70]))
    assert message_of(lambda: fetch_checkpoint(at(70, model))) == (
        "model.hub=org/tiny-intermediate@global_step70: the hub cannot be reached, and of this repository only global_step10, "
        f"global_step20, global_step30, global_step40, global_step50, global_step100 is cached in {cache} "
        "Remedy: run it once with a network and without HF_HUB_OFFLINE, or choose what is cached"
    )


def test_a_repository_that_is_not_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = replace(MODEL, hub=HubModel(repository="org/other"))
    found = message_of(lambda: fetch_checkpoint(at(None, model)))
    assert found.startswith("model.hub=org/other@main: the hub cannot be reached, and nothing of this repository is cached in ")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "nowhere"))
    assert message_of(lambda: fetch_checkpoint(at(None))).startswith(
        "model.hub=org/tiny@main: the hub cannot be reached, and nothing"
    )


def test_a_name_that_cannot_be_one() -> None:
    model = replace(MODEL, hub=HubModel(repository="a/b/c"))
    assert "model.hub=a/b/c@main: this is no name of a repository" in message_of(lambda: fetch_checkpoint(at(None, model)))


def test_weights_that_are_missing_are_never_made_up() -> None:
    found = message_of(lambda: reader_at(FAULTY["incomplete"]))
    assert "1 of its weights are missing: transformer.h.1.mlp.dense_4h_to_h.weight Remedy: use a folder with all" in found


def test_many_missing_weights_are_counted_and_some_named(bloom, tokenizer, tmp_path: Path) -> None:
    bloom(10).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    weights = bloom(10).state_dict()
    kept = {name: weights[name] for name in ("transformer.word_embeddings.weight", "transformer.ln_f.weight")}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    found = message_of(lambda: load_reader(tmp_path, ModelConfig(name="plain", path=str(tmp_path))))
    missing = sorted(set(weights) - set(kept) - {"lm_head.weight"})
    assert f"{len(missing)} of its weights are missing: {', '.join(missing[:3])}, ... Remedy" in found


def test_code_in_a_pickle_is_not_run(marker: Path) -> None:
    for dtype in (Dtype.auto, Dtype.float32):
        found = message_of(lambda dtype=dtype: reader_at(FAULTY["harmful"], replace(MODEL, dtype=dtype)))
        assert "it cannot be loaded: Weights only load failed" in found
        assert not marker.exists()
    path = fetch_checkpoint(at(FAULTY["harmful"])) / "pytorch_model.bin"
    torch.load(path, weights_only=False)  # that the test could see it
    assert marker.exists()
    marker.rmdir()


def test_a_revision_without_weights() -> None:
    assert message_of(lambda: fetch_checkpoint(at(FAULTY["empty"]))) == (
        "model.hub=org/tiny-intermediate@global_step100: it does not have config.json and one of model*.safetensors, "
        "pytorch_model*.bin Remedy: choose another revision"
    )


def test_a_repository_without_a_tokenizer() -> None:
    model = replace(MODEL, hub=HubModel(repository="org/tiny-intermediate", revision="global_step20"))
    assert "it has no tokenizer Remedy: give model.tokenizer=FOLDER" in message_of(lambda: reader_at(None, model))


# The command ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict]:
    """Runs the command on a model that a user has described in a file; returns the record of the run."""
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "tiny.yaml").write_text(
        "name: tiny\ncontext: 128\nhub:\n  repository: org/tiny\n  checkpoint_repository: org/tiny-intermediate\n"
        "  checkpoint_revision: global_step{step}\n  steps: [10, 20, 30]\n  tokens_per_step: 512\n"
        "  known_bad:\n    30: the same as step 20\n"
    )
    monkeypatch.setenv("LF_EXPERIMENTS_CACHE", str(tmp_path / "cache"))

    def run_command(*overrides: str) -> dict:
        folder = tmp_path / "run"
        arguments = ["--config-dir", str(tmp_path / "conf"), "model=tiny", "tracking=none", "dataset.sentences=3"]
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["lf_experiments", *arguments, f"hydra.run.dir={folder}", *overrides])
            command.main()
        return json.loads((folder / "run.json").read_text())

    return run_command


def test_the_record_says_which_commit_was_read(run: Callable[..., dict], cache: Path) -> None:
    record = run("checkpoint=step", "checkpoint.step=20", "stages=[capture,compare]")
    assert record["status"] == "done"
    assert record["warnings"] == []
    assert record["model"]["hub_commit"] == commit_of("org/tiny-intermediate", "global_step20")
    assert record["model"]["folder"] == str(
        cache / "models--org--tiny-intermediate" / "snapshots" / record["model"]["hub_commit"]
    )
    assert record["model"]["training_tokens"] == 20 * 512


def test_the_final_weights_have_no_step(run: Callable[..., dict]) -> None:
    record = run("stages=[capture]")
    assert record["model"]["hub_commit"] == commit_of("org/tiny", "main")
    assert record["model"]["training_tokens"] is None


def test_a_step_that_is_known_to_be_bad_is_warned_of(run: Callable[..., dict]) -> None:
    record = run("checkpoint=step30", "stages=[capture]")
    assert record["warnings"] == ["the weights published as step 30 of tiny: the same as step 20"]


def test_a_download_is_removed_once_its_run_is_done_when_asked_for(
    run: Callable[..., dict], published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(own))
    for step in (10, 20, 30):  # the last two share their weights
        add_to_cache(
            own, "org/tiny-intermediate", f"global_step{step}", published["org/tiny-intermediate", f"global_step{step}"]
        )
    add_to_cache(own, "org/tiny", "main", published["org/tiny", "main"])

    def cached() -> list[str]:
        return sorted(path.name for path in own.glob("models--*/snapshots/*"))

    def commits(*steps: int) -> list[str]:
        of_steps = [commit_of("org/tiny-intermediate", f"global_step{step}") for step in steps]
        return sorted([commit_of("org/tiny", "main"), *of_steps])

    run("checkpoint=step", "checkpoint.step=10", "stages=[capture]")
    assert cached() == commits(10, 20, 30)
    run("checkpoint=step", "checkpoint.step=20", "stages=[capture,compare]", "cache.evict_hub=true", "overwrite=true")
    assert cached() == commits(10, 30)
    assert weight_fingerprint(fetch_checkpoint(at(30)))  # what step 20 shared with it is still there
    with pytest.raises(InputError, match="not be reached"):
        fetch_checkpoint(at(20))


@pytest.mark.parametrize(
    ("change", "differing"),
    [
        ("checkpoint.step=20", "checkpoint.step 10 -> 20"),
        ("model.special_tokens=none", "model.special_tokens model -> none"),
        ("seed=5", "seed 0 -> 5"),
    ],
)
def test_a_folder_of_other_results_is_refused_before_anything_is_downloaded(
    run: Callable[..., dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, differing: str
) -> None:
    step = ["checkpoint=step", "checkpoint.step=10", "stages=[capture]"]
    before = run(*step)
    with monkeypatch.context() as patch:
        patch.setattr("lf_experiments.study.bench.fetch_checkpoint", lambda _: pytest.fail("a model was fetched"))
        with pytest.raises(SystemExit, match=rf"other inputs \(capture\): {differing}\nRemedy: give another folder"):
            run(*step, change)
    assert json.loads((tmp_path / "run" / "run.json").read_text()) == before


@pytest.mark.slow
@pytest.mark.usefixtures("run")
def test_a_sweep_over_two_steps_with_the_same_weights_says_so_loudly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [
        "--config-dir", str(tmp_path / "conf"), "--multirun", "model=tiny", "checkpoint=step", "checkpoint.step=10,20,30",
        "tracking=none", "dataset.sentences=3", "stages=[capture,compare,probe,report]",
        f"hydra.sweep.dir={tmp_path / 'sweep'}",
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["lf_experiments", *arguments])
    command.main()
    table = pd.read_csv(tmp_path / "sweep" / "sweep.csv", keep_default_na=False).set_index("training_step")
    assert table["duplicate_of"].to_dict() == {10: "", 20: "", 30: table.loc[20, "job"]}
    report = (tmp_path / "sweep" / "report.html").read_text(encoding="utf-8")
    assert "checkpoint step30 of tiny has the same weights as step20" in report
    assert "checkpoint step20 of tiny has the same weights" not in report


# Online -----------------------------------------------------------------------------------------------------------------


REFUSALS = {
    "org/gated": (403, {"X-Error-Code": "GatedRepo"}),
    "org/locked": (401, {"X-Error-Message": "Invalid credentials in Authorization header"}),
}


class Hub:
    """The part of the hub's protocol that a download takes, on this machine."""

    def __init__(self, published: dict[tuple[str, str], Path]) -> None:
        self.published = published
        self.downloaded: list[str] = []
        self.broken: set[str] = set()
        """Files that cannot be had, as when a connection breaks."""

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body: of /api/models/ORG/NAME/..., what there is; of /ORG/NAME/resolve/COMMIT/FILE, a file."""
        parts = unquote(path.split("?")[0]).removeprefix("/api/models").strip("/").split("/")
        repository, kind, revision = "/".join(parts[:2]), parts[2], parts[3] if len(parts) > 3 else None
        if repository in REFUSALS:
            return *REFUSALS[repository], b""
        names = {name: name for of, name in self.published if of == repository}
        names.update({commit_of(repository, name): name for name in names})
        if not names:
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        if kind == "refs":
            branches = [{"name": name, "ref": f"refs/heads/{name}", "targetCommit": "0" * 40} for name in set(names.values())]
            return 200, {}, json.dumps({"branches": branches, "tags": [], "converts": []}).encode()
        if revision not in names:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        folder, commit = self.published[repository, names[revision]], commit_of(repository, names[revision])
        if kind == "revision":
            return 200, {}, json.dumps({"id": repository, "sha": commit, "siblings": []}).encode()
        if kind == "tree":
            return 200, {}, json.dumps([listed(path) for path in folder.iterdir()]).encode()
        file = folder / parts[4]
        if file.name in self.broken:
            return 503, {}, b""
        return 200, {"ETag": f'"{digest(file)}"', "X-Repo-Commit": commit}, file.read_bytes()


def listed(path: Path) -> dict[str, str | int]:
    """A file as the hub lists it."""
    return {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": digest(path)}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def hub(published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub within reach, and an empty cache."""
    served = Hub(published)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = served.answer(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)
                if "/resolve/" in self.path:
                    served.downloaded.append(self.path.rsplit("/", 1)[1])

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield served
    server.shutdown()
    server.server_close()


def test_weights_in_several_files_are_downloaded_with_their_index(hub: Hub, bloom) -> None:
    for step, model in ((20, MODEL), (None, replace(MODEL, hub=replace(HUB, revision="sharded")))):
        hub.downloaded.clear()
        found, expected = load_model(fetch_checkpoint(at(step, model)), model).state_dict(), bloom(step).state_dict()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
        suffix = ".bin" if step else ".safetensors"
        assert sum(name.endswith(suffix) for name in hub.downloaded) >= 2
        assert {Path(name).suffix for name in hub.downloaded} == {".json", suffix}


def test_weights_under_names_that_only_the_index_gives_are_downloaded(hub: Hub, bloom) -> None:
    model = replace(MODEL, hub=replace(HUB, revision="renamed"))
    found, expected = load_model(fetch_checkpoint(at(None, model)), model).state_dict(), bloom(None).state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert sum(name.startswith("part") for name in hub.downloaded) >= 2


def test_a_step_is_downloaded_with_the_tokenizer_of_the_final_weights_and_kept(hub: Hub, bloom, monkeypatch) -> None:
    reader = reader_at(10)
    assert torch.equal(reader.model.transformer.word_embeddings.weight, bloom(10).transformer.word_embeddings.weight)
    assert sorted(set(hub.downloaded)) == ["config.json", "pytorch_model.bin", "tokenizer.json", "tokenizer_config.json"]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.downloaded.clear()
    assert reader_at(10).model.config.model_type == "bloom"
    assert hub.downloaded == []


def test_only_safetensors_are_downloaded_where_there_are_some(hub: Hub) -> None:
    reader_at(None)
    needed = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert sorted(hub.downloaded) == needed


def test_code_is_downloaded_only_to_be_trusted(hub: Hub) -> None:
    fetch_checkpoint(at(None, replace(MODEL, trust_remote_code=True)))
    assert "modeling_tiny.py" in hub.downloaded


def test_a_download_that_broke_off_is_not_taken_for_the_model(hub: Hub, monkeypatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)  # between attempts
    hub.broken = {"model.safetensors"}
    found = message_of(lambda: fetch_checkpoint(at(None)))
    assert "the hub cannot be reached, and the download of this revision is not complete" in found
    hub.broken = set()
    assert (fetch_checkpoint(at(None)) / "model.safetensors").is_file()


@pytest.mark.usefixtures("hub")
def test_a_revision_that_does_not_exist_is_answered_with_those_that_do() -> None:
    model = replace(MODEL, hub=replace(HUB, steps=[70]))
    assert message_of(lambda: fetch_checkpoint(at(70, model))) == (
        "model.hub=org/tiny-intermediate@global_step70: the repository has no such revision; it has global_step10, "
        "global_step20, global_step30, global_step40, global_step50, global_step100 Remedy: choose one of these"
    )


@pytest.mark.parametrize(
    ("repository", "said"),
    [
        ("org/gated", "accepted its conditions Remedy: accept them on https://huggingface.co/org/gated, then `hf auth login`"),
        ("org/unknown", "no such repository, or it is private Remedy: check its name; if it is private, `hf auth login`"),
        ("org/locked", "the hub refuses it: "),
    ],
)
def test_a_repository_that_does_not_open(hub: Hub, repository: str, said: str) -> None:
    model = replace(MODEL, hub=HubModel(repository=repository))
    found = message_of(lambda: fetch_checkpoint(at(None, model)))
    assert found.startswith(f"model.hub={repository}@main: ")
    assert said in found
    assert hub.downloaded == []
