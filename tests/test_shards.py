"""Tensor parallelism: processes that share layers find what one process finds, in step, and none waits for one that is gone."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from pathlib import Path

import pytest
import torch
from same_numbers import assert_same_numbers
from transformers import (
    AutoConfig,
    BloomConfig,
    FalconConfig,
    LlamaConfig,
    MixtralConfig,
    PretrainedConfig,
)

from lf_experiments.config.schema import Dtype, ModelConfig
from lf_experiments.errors import InputError
from lf_experiments.models import team as team_module
from lf_experiments.models.load import Reader
from lf_experiments.models.messages import Failed, send
from lf_experiments.models.sharded_sites import ShardedSite
from lf_experiments.models.shards import Parted, Shards, are_in_step
from lf_experiments.models.team import Team, assemble_team, cause, place_of, shares_of_gpus
from lf_experiments.models.tensor_plans import PLANS, divided_weights, most_shards, refuse_unshardable
from lf_experiments.models.workers import Worker
from lf_experiments.neurons.capture import capture


@contextmanager
def a_team(folder: Path, copies: int = 1, shards: int = 2) -> Iterator[Team]:
    team = assemble_team(folder, ModelConfig(name="test", path=str(folder), dtype=Dtype.float32), copies, shards)
    try:
        yield team
    finally:
        team.end()


# Quick: a team of two, and what needs no team ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def team(model_folders: dict[str, Path]) -> Iterator[Team]:
    with a_team(model_folders["llama"]) as team:
        yield team


@pytest.fixture(scope="module")
def alone(model_folders: dict[str, Path], load: Callable[..., Reader]) -> Reader:
    return load(model_folders["llama"])


def test_two_processes_that_share_a_llama_find_what_one_finds(team: Team, alone: Reader, sentences: list[str]) -> None:
    assert all(isinstance(site, ShardedSite) and not site.is_whole for site in team.sites)
    assert_same_numbers(team, alone, sentences[:6])


def parts(reader: Reader, items: list[int]) -> Iterator[tuple[int, tuple[int, list[int]]]]:
    """Parameters in this process, and the widths of the neurons that its matrices are given."""
    here = [getattr(parameter, "to_local", lambda of=parameter: of)() for parameter in reader.model.parameters()]
    seen: list[int] = []
    handles = [site.part.tap(lambda h_N: seen.append(h_N.shape[-1])) for site in reader.sites]
    with torch.no_grad():
        reader.model(torch.tensor([[3]]))
    for handle in handles:
        handle.remove()
    yield from ((position, (sum(parameter.numel() for parameter in here), seen)) for position, _ in enumerate(items))


def test_each_process_has_its_part(team: Team, alone: Reader) -> None:
    held, seen = dict(team.share(parts, [0]))[0]
    assert seen == [24, 24, 24]
    assert held < 0.55 * alone.num_parameters  # the norms are in both


def forever(reader: Reader, _: list[int]) -> Iterator[tuple[int, float]]:
    """One forward pass after the other; in each, the processes wait for each other."""
    position = 0
    with torch.no_grad():
        while True:
            yield position, float(reader.model(torch.tensor([[position % 100]])).logits.sum())
            position += 1


def refuse_after_three(reader: Reader, items: list[int]) -> Iterator[tuple[int, float]]:
    for position, result in forever(reader, items):
        if position == 3:
            raise InputError("numbers", 3, "nobody wants it", "leave it out")
        yield position, result


def test_a_consumer_that_has_enough_leaves_all_free(team: Team, alone: Reader) -> None:
    for _ in range(2):
        results = team.share(forever, [0])
        found = [next(results) for _ in range(3)]
        results.close()
        expected = alone.share(forever, [0])
        assert found == [(position, pytest.approx(value, rel=1e-5)) for position, value in (next(expected) for _ in range(3))]


def test_what_a_user_can_mend_leaves_all_free(team: Team) -> None:
    with pytest.raises(InputError, match="nobody wants it"):
        list(team.share(refuse_after_three, [0]))
    assert dict(team.share(parts, [0, 1])).keys() == {0, 1}


def test_a_question_is_put_to_all_processes(team: Team, alone: Reader) -> None:
    assert team.ask(first_logit, 3) == pytest.approx(alone.ask(first_logit, 3), rel=1e-5)


@torch.no_grad()
def first_logit(reader: Reader, token: int) -> float:
    return float(reader.model(torch.tensor([[token]])).logits[0, 0, 0])


def test_an_ordinary_team_shares_no_layers(model_folders: dict[str, Path]) -> None:
    reader = assemble_team(model_folders["llama"], ModelConfig(name="test", path="x"), 1, 1)
    assert reader.shards is None
    assert not isinstance(reader, Team)


@pytest.mark.parametrize(("width", "count", "parts"), [(48, 2, [24, 24]), (50, 4, [13, 13, 13, 11]), (5, 4, [2, 2, 1, 0])])
def test_parts_are_as_torch_divides_a_matrix(width: int, count: int, parts: list[int]) -> None:
    slices = [Shards(number, count, None).part(width) for number in range(count)]
    assert [torch.arange(width)[part].numel() for part in slices] == parts
    assert torch.cat([torch.arange(width)[part] for part in slices]).tolist() == list(range(width))
    chunks = [len(chunk) for chunk in torch.arange(width).chunk(count)]
    assert chunks == [part for part in parts if part]


def test_processes_in_a_row_are_a_copy() -> None:
    class Meeting:
        host, port = "here", 1

    places = [place_of(number, 2, Meeting()) for number in range(6)]
    assert [(place.copy, place.number, place.count) for place in places] == [(c, n, 2) for c in range(3) for n in range(2)]
    assert place_of(0, 1, None) is None


@pytest.mark.parametrize(
    ("gpus", "copies", "expected"),
    [(0, 1, [[], []]), (8, 1, [[0], [1]]), (4, 2, [[0], [1], [2], [3]]), (5, 2, [[0], [1], [2], [3]])],
)
def test_every_process_that_shares_layers_has_one_gpu(
    gpus: int, copies: int, expected: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(team_module.torch.cuda, "device_count", lambda: gpus)
    assert shares_of_gpus(copies, 2) == expected


def test_launched_processes_are_whole_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team_module.torch.cuda, "device_count", lambda: 4)
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert shares_of_gpus(1, 2) == shares_of_gpus(4, 2) == [[0], [1], [2], [3]] * 2
    with pytest.raises(
        InputError, match="runtime.tensor_parallel=3: the launcher has started 8 processes, which are not whole"
    ):
        shares_of_gpus(1, 3)
    with pytest.raises(InputError, match="runtime.num_processes=8: the launcher has started 8 processes"):
        shares_of_gpus(8, 2)


def test_more_shards_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team_module.torch.cuda, "device_count", lambda: 3)
    expected = "runtime.tensor_parallel=2: there are only 3 GPUs here, and 4 processes need one each"
    with pytest.raises(InputError, match=expected):
        shares_of_gpus(2, 2)


REFUSED: dict[str, tuple[PretrainedConfig, int, str]] = {
    "no plan": (FalconConfig(), 2, "transformers has no plan for falcon"),
    "experts": (MixtralConfig(), 2, "mixtral is a mixture of experts"),
    "key-value heads": (
        LlamaConfig(num_attention_heads=8, num_key_value_heads=2),
        4,
        "its 2 key-value heads cannot be shared by 4",
    ),
    "heads": (LlamaConfig(num_attention_heads=8), 3, "its 8 attention heads cannot be shared by 3 processes"),
    "sparse": (
        AutoConfig.for_model(
            "gemma3n_text", num_hidden_layers=2, layer_types=["full_attention"] * 2, activation_sparsity_pattern=[0.95, 0.0]
        ),
        2,
        "gemma3n_text silences neurons that are small among all of their layer",
    ),
    "quantized": (LlamaConfig(quantization_config={"quant_method": "gptq"}), 2, "the weights of this model are quantized"),
}


@pytest.mark.parametrize(("architecture", "shards", "said"), REFUSED.values(), ids=REFUSED)
def test_models_that_cannot_be_shared_are_refused(architecture: PretrainedConfig, shards: int, said: str) -> None:
    with pytest.raises(
        InputError, match=rf"runtime.tensor_parallel={shards}: {said}(.|\n)*Remedy: leave it out: runtime.num_pro"
    ):
        refuse_unshardable(architecture, shards)


def test_a_gguf_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(InputError, match="the weights of a GGUF file are restored all at once"):
        refuse_unshardable(LlamaConfig(), 2, tmp_path / "model.gguf")


def test_a_model_is_refused_before_any_process_starts(model_folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team_module, "start_workers", lambda _: pytest.fail("started"))
    with pytest.raises(InputError, match="its 2 key-value heads cannot be shared by 3 processes"):
        assemble_team(model_folders["llama"], ModelConfig(name="test", path="x"), 1, 3)


def test_as_many_processes_as_can_share() -> None:
    assert most_shards(LlamaConfig(num_attention_heads=8, num_key_value_heads=4), 7) == 4
    assert most_shards(FalconConfig(), 8) == 1
    assert most_shards(BloomConfig(n_head=4), 7) == 7  # every process computes the whole attention


def test_all_matrices_of_a_bloom_are_divided(model_folders: dict[str, Path], load: Callable[..., Reader]) -> None:
    model = load(model_folders["bloom"]).model
    whole = {name for name, _ in model.named_parameters()} - divided_weights(model)
    assert all("layernorm" in name or name.startswith("transformer.ln_f") for name in whole)
    assert set(PLANS["bloom"].values()) <= {
        "embedding_rowwise",
        "colwise",
        "rowwise",
        "colwise_gather_output",
        "rowwise_split_input",
    }


# Slow: copies, and failures ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_copies_of_a_bloom_with_two_shards_each(
    model_folders: dict[str, Path], load: Callable[..., Reader], sentences: list[str]
) -> None:
    with a_team(model_folders["bloom"], 2, 2) as team:
        assert (team.copies, len(team.workers)) == (2, 3)
        processes = dict(team.share(who, [0] * 4))
        assert processes == {0: (os.getpid(), 0), 1: processes[1], 2: (os.getpid(), 0), 3: processes[1]}
        assert processes[1][1] == 0  # the second copy, answered for by its first process
        assert processes[1][0] != os.getpid()
        assert_same_numbers(team, load(model_folders["bloom"]), sentences[:6])


def who(reader: Reader, items: list[int]) -> Iterator[tuple[int, tuple[int, int]]]:
    yield from ((position, (os.getpid(), reader.shards.number)) for position in range(len(items)))


def fail_after_three(reader: Reader, items: list[tuple[int, str]]) -> Iterator[tuple[int, float]]:
    """Each item is the number of the shard that fails, and how; the others read on."""
    number, how = items[0]
    for position, result in forever(reader, []):
        if position == 3 and reader.shards.number == number:
            if how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise FAILURES[how]
        yield position, result


FAILURES = {
    "memory": RuntimeError("CUDA out of memory."),
    "bug": ZeroDivisionError("nothing to divide by"),
}
SAID = {
    "memory": (InputError, r"runtime.batch_tokens=.*out of memory.*Remedy: give a smaller runtime.batch_tokens"),
    "bug": (Exception, "nothing to divide by"),
    "killed": (RuntimeError, "process 1 died with exit code -9"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("number", "how"), [(0, "memory"), (1, "memory"), (0, "bug"), (1, "bug"), (1, "killed")])
def test_where_one_fails_none_waits(number: int, how: str, model_folders: dict[str, Path]) -> None:
    kind, said = SAID[how]
    with a_team(model_folders["llama"]) as team:
        with pytest.raises(kind, match=rf"(?s){said}"):
            list(team.share(fail_after_three, [(number, how)]))
        team.workers[0].process.join(5)
        assert not team.workers[0].process.is_alive()
        assert not are_in_step()
        with pytest.raises(RuntimeError, match="process 1 died"):
            list(team.share(parts, [0]))


def test_what_a_worker_said_when_it_failed_is_not_lost_where_the_leader_then_misses_it() -> None:
    here, there = Pipe()
    worker = Worker(1, here)
    send(there, Failed(None, "nothing to divide by"))
    there.close()
    with pytest.raises(RuntimeError, match="nothing to divide by"):
        worker.answer()
    missed = Parted(RuntimeError("Connection closed by peer"))
    assert "nothing to divide by" in str(cause(missed, [worker]))


@pytest.mark.slow
def test_where_one_of_another_copy_fails_none_waits(model_folders: dict[str, Path]) -> None:
    with a_team(model_folders["llama"], 2, 2) as team, pytest.raises(InputError, match="give a smaller runtime.batch_tokens"):
        list(team.share(fail_after_three, [(-1, ""), (1, "memory")]))


@pytest.mark.slow
def test_a_batch_is_not_halved_by_one_process_alone(model_folders: dict[str, Path], sentences: list[str]) -> None:
    with a_team(model_folders["llama"]) as team, pytest.raises(InputError, match="processes that share the layers of a model"):
        team.model.register_forward_pre_hook(no_memory)
        capture(team, sentences, 300, ["attribution"])


def no_memory(*_: object) -> None:
    raise RuntimeError("CUDA out of memory.")


@pytest.mark.slow
def test_weights_that_are_missing_are_said_once(model_folders: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for path in model_folders["llama"].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.layers.0.mlp.down_proj.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="model.path"), a_team(tmp_path):
        pass
    assert not are_in_step()
