"""Attacks on what a run needs: damaged models, caches, disks. Each ends in right numbers or in a message with a remedy (slow).

To add an attack, add a line to a table: what is done to the place of a run, and what the command answers (`attacks.py`).
"""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from attacks import Damage, Outcome, Place, Refused, Right, answer, run, weights
from conftest import Mount
from safetensors.torch import load_file, save_file

pytestmark = pytest.mark.slow


def run_as_stranger(place: Place, *overrides: str) -> Outcome:
    """The command as a user without a name, a home folder or any rights, in a fork of this process."""
    here, there = multiprocessing.Pipe(duplex=False)

    def child() -> None:
        os.setgroups([])
        os.setgid(12345)
        os.setuid(12345)
        os.environ.pop("HOME", None)
        os.environ.pop("LF_EXPERIMENTS_CACHE", None)
        there.send(run(place, *overrides))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    assert here.poll(300), process.exitcode
    process.join()
    return here.recv()


# What can be done to a model folder -----------------------------------------------------------------------------------------


def put(name: str, content: bytes | str) -> Damage:
    """Replace a file of the model."""
    return lambda place: (place.model / name).write_bytes(content.encode() if isinstance(content, str) else content)


def cut(name: str) -> Damage:
    """Keep the first half of a file."""
    return lambda place: put(name, (content := (place.model / name).read_bytes())[: len(content) // 2])(place)


def lose(*names: str) -> Damage:
    return lambda place: [(place.model / name).unlink() for name in names]


def say(name: str, **values: Any) -> Damage:
    """Change values of a JSON file."""

    def change(place: Place) -> None:
        path = place.model / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return change


def config(**values: Any) -> Damage:
    return say("config.json", **values)


def quantized(method: str) -> Damage:
    return config(quantization_config={"quant_method": method, "bits": 4, "group_size": 128})


def index(target: str) -> Damage:
    """Move the weights to `target`, or leave them where that is none of ours, and name it in an index."""

    def damage(place: Place) -> None:
        path = place.model / "model.safetensors"
        names = dict.fromkeys(load_file(path), target)
        (place.model / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
        path.rename(place.model / target if not Path(target).is_absolute() else place.model / "model-1.safetensors")

    return damage


def evil_code(place: Place) -> None:
    """Python code that leaves a mark when it is run."""
    mark = place.folder / "mark"
    (place.model / "evil.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass C: ...\nclass T: ...\nclass M: ...\n")


MODELS: dict[str, tuple[Damage, Refused | Right]] = {
    "nothing": (lambda _: None, Right()),
    # tokenizer files
    "tokenizer cut": (cut("tokenizer.json"), Refused("model.tokenizer", "tokenizer.json is damaged", "download it again")),
    "tokenizer binary": (put("tokenizer.json", b"\xff\xfe\0\1" * 9), Refused("model.tokenizer", "tokenizer.json is damaged")),
    "tokenizer empty": (put("tokenizer.json", ""), Refused("model.tokenizer", "tokenizer.json is damaged: it is empty")),
    "tokenizer without content": (put("tokenizer.json", "{}"), Refused("model.tokenizer", "it cannot be loaded")),
    "tokenizer settings garbage": (put("tokenizer_config.json", "{no"), Refused("model.tokenizer", "tokenizer_config.json")),
    "tokenizer settings a list": (put("tokenizer_config.json", "[]"), Refused("model.tokenizer", "not a JSON object")),
    "tokenizer lost": (lose("tokenizer.json"), Refused("model.tokenizer", "vocabulary", "add tokenizer.json")),
    "tokenizer and settings lost": (
        lose("tokenizer.json", "tokenizer_config.json"), Refused("model.tokenizer", "it has no tokenizer")
    ),
    "tokenizer of Python code": (
        say("tokenizer_config.json", tokenizer_class="T", auto_map={"AutoTokenizer": ["evil.T", None]}),
        Refused("model.tokenizer", "Python code", "model.trust_remote_code=true"),
    ),
    # config.json
    "config empty": (put("config.json", ""), Refused("model.path", "config.json", "it is empty")),
    "config a list": (put("config.json", "[]"), Refused("model.path", "config.json", "not a JSON object")),
    "config binary": (put("config.json", b"\xff\xfe"), Refused("model.path", "config.json", "not text")),
    "config cut": (cut("config.json"), Refused("model.path", "config.json", "not JSON at line")),
    "config without content": (put("config.json", "{}"), Refused("model.path", "does not name the architecture")),
    "config of another type": (config(num_attention_heads="four"), Refused("model.path", "num_attention_heads", "int")),
    "config of a broken number": (config(num_hidden_layers=2.5), Refused("model.path", "num_hidden_layers", "int")),
    "no layers": (config(num_hidden_layers=0), Refused("model.path", "0 layers")),
    "fewer layers": (config(num_hidden_layers=2), Refused("model.path", "weights of 3 layers", "config.json counts 2")),
    "more layers": (config(num_hidden_layers=4), Refused("model.path", "weights are missing")),
    "width zero": (config(hidden_size=0), Refused("model.path", "other shapes than config.json says")),
    "other width": (config(hidden_size=64), Refused("model.path", "other shapes than config.json says")),
    "other vocabulary": (config(vocab_size=10), Refused("model.path", "other shapes than config.json says")),
    "unknown architecture": (config(model_type="frobnicator"), Refused("model.path", "does not know the architecture")),
    "architecture of Python code": (
        config(model_type="evil", auto_map={"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"}),
        Refused("model.path", "Python code", "model.trust_remote_code=true"),
    ),
    "known architecture with Python code": (config(auto_map={"AutoModelForCausalLM": "evil.M"}), Right()),
    "number format that is none": (config(dtype="float8"), Refused("model.path", "float8")),
    "number format of integers": (config(dtype="int8"), Refused("model.path", "int8")),
    # quantized repositories
    "gptq": (quantized("gptq"), Refused("model.path", "quantized with gptq", "pip install optimum gptqmodel")),
    "awq": (quantized("awq"), Refused("model.path", "quantized with awq", "pip install gptqmodel")),
    "compressed-tensors": (quantized("compressed-tensors"), Refused("model.path", "pip install compressed-tensors")),
    "hqq": (quantized("hqq"), Refused("model.path", "pip install hqq")),
    "quantized by nobody": (config(quantization_config={"bits": 4}), Refused("model.path", "names no method")),
    "quantized by an unknown method": (quantized("wonder"), Right("published quantized (wonder)")),
    # weights
    "weights empty": (put("model.safetensors", b""), Refused("model.path", "it cannot be loaded")),
    "weights cut": (cut("model.safetensors"), Refused("model.path", "it cannot be loaded")),
    "weights lost": (lose("model.safetensors"), Refused("model.path", "it has no weights")),
    "a weight too many": (
        weights(lambda tensors: tensors.update({"model.layers.1.self_attn.q_proj.bias": torch.ones(32)})),
        Right("1 weights"),
    ),
    "a weight of old checkpoints": (
        weights(lambda tensors: tensors.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)})), Right()
    ),
    "an index of its own names": (index("elsewhere.safetensors"), Right()),
    "an index out of the folder": (index("../outside.safetensors"), Refused("model.path", "outside of the folder")),
    "an index to a system file": (index("/etc/passwd"), Refused("model.path", "/etc/passwd", "outside of the folder")),
    "an index to nowhere": (
        lambda place: (index("elsewhere.safetensors")(place), lose("elsewhere.safetensors")(place)),
        Refused("model.path", "elsewhere.safetensors", "download the files that are missing"),
    ),
    "an index that is garbage": (put("model.safetensors.index.json", "no"), Refused("model.path", "index.json")),
    "an index that is a list": (put("model.safetensors.index.json", "[]"), Refused("model.path", "not a JSON object")),
    "an index without names": (put("model.safetensors.index.json", "{}"), Refused("model.path", "no weight_map")),
}  # fmt: skip


@pytest.mark.parametrize("attack", MODELS)
def test_a_damaged_model(place: Place, untouched: tuple[float, float], attack: str) -> None:
    damage, expected = MODELS[attack]
    evil_code(place)
    damage(place)
    expected.check(run(place), untouched)
    assert not (place.folder / "mark").exists()


DEVICES: dict[str, tuple[str, Refused]] = {
    "a GPU that is not here": ("cuda:99", Refused("model.device_map", "there is no cuda:99")),
    "a GPU of a layer": ("{model:'cuda:99'}", Refused("model.device_map", "there is no cuda:99")),
    "a device that is none": ("everywhere", Refused("model.device_map", "there is no device everywhere")),
    "a device without memory": ("meta", Refused("model.device_map", "there is no device meta")),
}


@pytest.mark.parametrize("attack", DEVICES)
def test_a_device_that_is_not_here(place: Place, untouched: tuple[float, float], attack: str) -> None:
    device, expected = DEVICES[attack]
    expected.check(run(place, f"model.device_map={device}"), untouched)


# Nothing old is served for something new ------------------------------------------------------------------------------------

CHANGES: dict[str, Damage] = {
    "the activation function": config(hidden_act="relu"),
    "the rotation of positions": config(rope_parameters={"rope_type": "default", "rope_theta": 3.0}),
    "the epsilon of the norms": config(rms_norm_eps=0.3),
    "the number of heads": config(num_attention_heads=8, num_key_value_heads=4, head_dim=4),
    "a weight": weights(lambda tensors: tensors["model.layers.1.mlp.up_proj.weight"].mul_(1.7)),
    "the tokenizer": lambda place: (place.model / "tokenizer.json").write_text(
        (place.model / "tokenizer.json").read_text().replace('"add_prefix_space":false', '"add_prefix_space":true')
        .replace('"add_prefix_space": false', '"add_prefix_space": true')
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_model_is_read_anew(place: Place, untouched: tuple[float, float], change: str) -> None:
    assert run(place).scores == pytest.approx(untouched, abs=1e-6)
    CHANGES[change](place)
    run(place, f"hydra.run.dir={place.run}2")
    served = json.loads((place.folder / "run2" / "metrics.json").read_text())
    run(place, f"hydra.run.dir={place.run}3", f"cache.dir={place.folder / 'fresh'}")
    fresh = json.loads((place.folder / "run3" / "metrics.json").read_text())
    assert (served["lrds"], served["sads"]) == (fresh["lrds"], fresh["sads"])
    assert (served["lrds"], served["sads"]) != pytest.approx(untouched, abs=1e-6)


def test_weights_under_another_name_are_read_anew(place: Place, untouched: tuple[float, float]) -> None:
    index("elsewhere.safetensors")(place)
    assert run(place).scores == pytest.approx(untouched, abs=1e-6)
    path = place.model / "elsewhere.safetensors"
    tensors = load_file(path)
    tensors["model.layers.1.mlp.up_proj.weight"].mul_(1.7)
    save_file(tensors, path, metadata={"format": "pt"})
    shutil.rmtree(place.run)
    assert run(place).scores != pytest.approx(untouched, abs=1e-6)


def test_facts_that_change_no_number_change_no_result(place: Place, untouched: tuple[float, float]) -> None:
    run(place)
    config(transformers_version="4.0", _name_or_path="elsewhere")(place)
    shutil.rmtree(place.run)
    lose("model.safetensors")  # what is kept needs no model
    assert run(place).scores == pytest.approx(untouched, abs=0)


# Caches ---------------------------------------------------------------------------------------------------------------------


def captures(place: Place) -> list[Path]:
    return sorted(place.cache.rglob("*.safetensors"))


def each_capture(change: Callable[[Path], Any]) -> Damage:
    return lambda place: [change(path) for path in captures(place)]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


CACHES: dict[str, tuple[Damage, Right]] = {
    "filled": (lambda _: None, Right()),
    "bits flipped": (each_capture(flip), Right(*["is damaged: capturing again"] * 6)),
    "cut": (each_capture(lambda path: os.truncate(path, path.stat().st_size // 2)), Right(*["is damaged"] * 6)),
    "empty": (each_capture(lambda path: path.write_bytes(b"")), Right(*["is damaged"] * 6)),
    "no digests": (each_capture(lambda path: path.with_suffix(".sha256").unlink()), Right(*["is damaged"] * 6)),
    "lost": (each_capture(Path.unlink), Right()),
    "a lock left behind": (lambda place: [path.parent.joinpath(".lock").touch() for path in captures(place)], Right()),
    "a file": (
        lambda place: (shutil.rmtree(place.cache), place.cache.write_text("a file")), Right("captures cannot be kept in")
    ),
}  # fmt: skip


@pytest.mark.parametrize("attack", CACHES)
def test_a_damaged_cache(place: Place, untouched: tuple[float, float], attack: str) -> None:
    damage, expected = CACHES[attack]
    run(place)
    damage(place)
    shutil.rmtree(place.run)
    expected.check(run(place), untouched)


@pytest.mark.parametrize("filled", [True, False])
def test_a_read_only_cache(place: Place, untouched: tuple[float, float], filled: bool, mount: Mount) -> None:
    if filled:
        run(place)
        shutil.rmtree(place.run)
    place.cache.mkdir(exist_ok=True)
    mount(place.cache, "--bind", str(place.cache), "-o", "ro")
    expected = Right() if filled else Right("captures cannot be kept in")
    expected.check(run(place), untouched)


# Disks, limits and rights ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kibibytes", [16, 84, 100])
def test_a_full_disk_under_the_run_folder(place: Place, untouched: tuple[float, float], kibibytes: int, mount: Mount) -> None:
    for path in place.data.iterdir():
        path.write_text("\n".join(f"{path.stem} line {line}" for line in range(30)), encoding="utf-8")
    mount(place.run, "-t", "tmpfs", "tmpfs", "-o", f"size={kibibytes}k")
    Refused("hydra.run.dir", str(place.run)).check(run(place, "dataset.sentences=30"), untouched)
    assert not [path for path in place.run.iterdir() if ".part" in path.name]


def test_a_full_disk_under_the_cache(place: Place, untouched: tuple[float, float], mount: Mount) -> None:
    mount(place.cache, "-t", "tmpfs", "tmpfs", "-o", "size=8k")
    Right("No space left on device").check(run(place), untouched)


def test_a_full_disk_under_a_model_that_is_grown(place: Place, untouched: tuple[float, float], mount: Mount) -> None:
    mount(place.cache, "-t", "tmpfs", "tmpfs", "-o", "size=64k")
    grown = ["experiment=smoke", "model.path=null", "model=bloom-nano-s", "model.recipe.steps=[1]"]
    Refused("cache.dir", "the disk is full").check(run(place, *grown), untouched)


def test_files_that_may_not_grow_large(place: Place, untouched: tuple[float, float]) -> None:
    limited = ["bash", "-c", 'ulimit -f 8; trap "" XFSZ; exec "$@"', "bash", sys.executable, "-m", "lf_experiments"]
    arguments = [*place.arguments, "dataset.sentences=3", "cache.enabled=false"]
    found = subprocess.run([*limited, *arguments], cwd=place.folder, capture_output=True, text=True)
    outcome = answer(place, found.returncode, found.stderr)
    if outcome.status:
        Refused("hydra.run.dir", "may not grow this large").check(outcome, untouched)


@pytest.fixture
def open_place(pristine: Path) -> Iterator[Place]:
    """A place that other users of this machine can read, and none but its owner can write."""
    if os.getuid():
        pytest.skip("only root can run the command as another user")
    folder = Path(tempfile.mkdtemp())
    place = Place(shutil.copytree(pristine, folder / "place"))
    place.cache.mkdir()
    place.run.mkdir()
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    yield place
    shutil.rmtree(folder)


def test_a_run_folder_of_another_user(open_place: Place, untouched: tuple[float, float]) -> None:
    found = run_as_stranger(open_place)
    Refused("hydra.run.dir", "Permission denied").check(found, untouched)


def test_a_cache_of_another_user(open_place: Place, untouched: tuple[float, float]) -> None:
    open_place.run.chmod(0o777)
    found = run_as_stranger(open_place)
    Right("captures cannot be kept in").check(found, untouched)


def test_sentences_that_may_not_be_read(open_place: Place, untouched: tuple[float, float]) -> None:
    open_place.run.chmod(0o777)
    (open_place.data / "en.txt").chmod(0o600)
    found = run_as_stranger(open_place)
    Refused("dataset.root", "en.txt", "ermission denied").check(found, untouched)


def test_weights_that_may_not_be_read(open_place: Place, untouched: tuple[float, float]) -> None:
    open_place.run.chmod(0o777)
    (open_place.model / "model.safetensors").chmod(0o600)
    found = run_as_stranger(open_place)
    Refused("model.path", "model.safetensors", "permission denied").check(found, untouched)


def test_a_user_without_a_home(open_place: Place, untouched: tuple[float, float]) -> None:
    open_place.run.chmod(0o777)
    found = run_as_stranger(open_place, "cache.dir='~/.cache/lf'")
    Refused("cache.dir", "HOME is not set", "cache.dir=FOLDER").check(found, untouched)
