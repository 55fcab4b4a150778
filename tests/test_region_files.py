"""Neurons in and out: every layout gives back what was written, and a model without a region is the model with it off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import lf_experiments as lf
from lf_experiments.config.schema import (
    CacheConfig,
    CheckpointConfig,
    Config,
    DatasetConfig,
    Dtype,
    InterventionConfig,
    LanguageSetConfig,
    ModelConfig,
    ProbeConfig,
    Stage,
    TextConfig,
    TrackingConfig,
)
from lf_experiments.errors import InputError
from lf_experiments.measures.probe import probe
from lf_experiments.measures.region_files import read_regions, write_lape, write_safetensors
from lf_experiments.measures.regions import Region, Regions, random_region
from lf_experiments.models.load import Reader
from lf_experiments.neurons.activations import Activations
from lf_experiments.neurons.interventions import intervened
from lf_experiments.neurons.removal import write_without
from lf_experiments.plan.plan import plan_of
from lf_experiments.plan.text import plan_text
from lf_experiments.runs.folder import RunFolder
from lf_experiments.study import run_study

WIDTHS = [6, 4]


@pytest.fixture
def regions() -> list[Region]:
    empty = [torch.zeros(6, dtype=torch.bool), torch.zeros(4, dtype=torch.bool)]
    some = [torch.tensor([1, 0, 0, 1, 0, 0]).bool(), torch.tensor([0, 0, 0, 1]).bool()]
    return [Region("en", some), Region("fr", empty), Region("zh", [some[0], empty[1]])]


def same(found: list[Region], expected: list[Region]) -> bool:
    return [region.language for region in found] == [region.language for region in expected] and all(
        torch.equal(*pair)
        for one, other in zip(found, expected, strict=True)
        for pair in zip(one.where_L_N, other.where_L_N, strict=True)
    )


@pytest.mark.parametrize(("name", "write"), [("r.safetensors", write_safetensors), ("r.pth", write_lape)])
def test_what_is_written_is_read_back(tmp_path: Path, regions: list[Region], name: str, write) -> None:
    write(tmp_path / name, regions)
    assert same(read_regions(tmp_path / name, ["en", "fr", "zh"], WIDTHS), regions)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_layout_of_lape_is_a_list_over_languages_of_lists_over_layers(tmp_path: Path, regions: list[Region]) -> None:
    write_lape(tmp_path / "r.pth", regions)
    plain = [[numbers.tolist() for numbers in layers] for layers in torch.load(tmp_path / "r.pth", weights_only=True)]
    assert plain == [[[0, 3], [3]], [[], []], [[0, 3], []]]
    published = [[torch.tensor([5]), torch.tensor([], dtype=torch.int64)], [torch.tensor([0, 1]), torch.tensor([2])]]
    torch.save(published, tmp_path / "published.pth")
    found = read_regions(tmp_path / "published.pth", ["en", "zh"], WIDTHS)
    assert [region.size for region in found] == [1, 3] and found[1].where_L_N[1].tolist() == [False, False, True, False]


def test_a_language_is_read_by_its_name_whatever_the_order(tmp_path: Path, regions: list[Region]) -> None:
    write_safetensors(tmp_path / "r.safetensors", regions)
    assert same(read_regions(tmp_path / "r.safetensors", ["zh", "en"], WIDTHS), [regions[2], regions[0]])


@pytest.fixture(scope="module")
def activations(reader: Reader, parallel: dict[str, list[str]]) -> Activations:
    return lf.capture(reader, parallel)


def test_neurons_of_a_file_are_probed_as_any_others(tmp_path: Path, activations: Activations) -> None:
    found = probe(activations, ProbeConfig("zscore", 2.0))
    codes = activations.language_codes
    write_safetensors(tmp_path / "r.safetensors", [found[code] for code in codes])
    write_lape(tmp_path / "r.pth", [found[code] for code in codes])
    found.key_neurons().to_parquet(tmp_path / "key_neurons.parquet")
    for name in ("r.safetensors", "r.pth", "key_neurons.parquet"):
        again = lf.probe(activations, "file", path=str(tmp_path / name))
        assert isinstance(again, Regions) and again.sklr == found.sklr > 0
        assert all(torch.equal(*pair) for pair in zip(again.is_key_L_GN, found.is_key_L_GN, strict=True))


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("none.pth", None, "there is no such file"),
        ("r.csv", b"", r"\.csv is no kind known\nRemedy: give \.safetensors, \.pth"),
        ("r.safetensors", b"no", "it cannot be read"),
        ("r.pth", b"no", "it cannot be read"),
        ("r.parquet", b"no", "it cannot be read"),
    ],
)
def test_files_that_cannot_be_used_are_told(tmp_path: Path, name: str, content: bytes | None, problem: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"probe.path=.*{name}: {problem}"):
        read_regions(tmp_path / name, ["en", "fr", "zh"], WIDTHS)


def test_neurons_of_other_languages_or_another_model_are_refused(tmp_path: Path, regions: list[Region]) -> None:
    write_safetensors(tmp_path / "r.safetensors", regions)
    write_lape(tmp_path / "r.pth", regions)
    with pytest.raises(InputError, match="it has no neurons of sw\nRemedy: choose among its languages: en, fr, zh"):
        read_regions(tmp_path / "r.safetensors", ["en", "sw"], WIDTHS)
    with pytest.raises(InputError, match="neurons of 3 languages, and 2 are under study"):
        read_regions(tmp_path / "r.pth", ["en", "fr"], WIDTHS)
    for widths in ([6], [3, 4]):
        with pytest.raises(InputError, match="its neuron 3 of layer . is not in a model of"):
            read_regions(tmp_path / "r.safetensors", ["en"], widths)


def test_probe_file_needs_a_path(activations: Activations) -> None:
    with pytest.raises(InputError, match="probe.path=null: probe=file needs a file of neurons"):
        lf.probe(activations, "file")


def test_a_file_that_runs_code_is_refused(tmp_path: Path) -> None:
    torch.save([pd.DataFrame], tmp_path / "r.pth")
    with pytest.raises(InputError, match="it cannot be read"):
        read_regions(tmp_path / "r.pth", ["en"], WIDTHS)


# The model without a region ---------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_a_model_without_a_region_predicts_what_the_model_does_with_it_off(reader: Reader, tmp_path: Path) -> None:
    region = random_region(reader.widths, 60, seed=3)
    ids_1T = torch.tensor(reader.token_ids(["After the rain my sister saw two white horses."]))
    before = reader.model(ids_1T).logits
    write_without(reader, region.where_L_N, tmp_path / "model")
    assert torch.equal(reader.model(ids_1T).logits, before), "the model in memory is as it was"
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    with intervened(reader.sites, region.zero()):
        expected = reader.model(ids_1T).logits
    torch.testing.assert_close(loaded(ids_1T).logits, expected, rtol=1e-5, atol=1e-5)
    assert (expected - before).abs().max() > 1e-2
    text = "Un enfant lit."
    assert AutoTokenizer.from_pretrained(tmp_path / "model")(text)["input_ids"] == reader.tokenizer(text)["input_ids"]


def test_weights_that_are_no_numbers_cannot_be_written(model_folder: Path, load, tmp_path: Path) -> None:
    reader = load(model_folder)
    matrix = reader.sites[1].matrix
    matrix.weight = torch.nn.Parameter(matrix.weight.to(torch.int8), requires_grad=False)
    with pytest.raises(InputError, match="export=.*quantized, offloaded or one of routed experts"):
        write_without(reader, random_region(reader.widths, 5, seed=0).where_L_N, tmp_path / "model")
    assert not (tmp_path / "model").exists()


# In a run ---------------------------------------------------------------------------------------------------------------------


def studied(config: Config, path: Path) -> RunFolder:
    run = RunFolder(path)
    with run.recorded({}, []):
        run_study(config, run)
    return run


def test_a_run_exports_and_another_evaluates_what_it_exported(model_folders, parallel, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for code, texts in parallel.items():
        (corpus / f"{code}.txt").write_text("\n".join(texts), encoding="utf-8")
    config = Config(
        model=ModelConfig(name="local", path=str(model_folders["llama"]), dtype=Dtype.float32),
        checkpoint=CheckpointConfig(None),
        language_set=LanguageSetConfig(list(parallel)),
        dataset=DatasetConfig("little", "files", root=str(corpus), sentences=3),
        text=TextConfig("none", "files"),
        probe=ProbeConfig("zscore"),
        intervention=InterventionConfig("zero"),
        tracking=TrackingConfig("none"),
        cache=CacheConfig(dir=str(tmp_path / "cache")),
        stages=[Stage.capture, Stage.probe],
        export=str(tmp_path / "exported"),
    )
    planned = {amount.name: amount.bytes for amount in plan_of(config).export}
    first = studied(config, tmp_path / "first")
    weights = sum(path.stat().st_size for path in (tmp_path / "exported").glob("*/model.safetensors"))
    assert planned["models"] == pytest.approx(weights, rel=0.1)
    assert planned["regions"] >= 16 * len(pd.read_parquet(first.path / "key_neurons.parquet"))
    assert "6 times the weights" in plan_text(plan_of(config)) and plan_of(replace(config, export=None)).export == []
    assert {path.name for path in (tmp_path / "exported").iterdir()} == {"regions.safetensors", "regions.pth", *parallel}
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "exported" / "zh").num_parameters() > 0
    from_file = ProbeConfig("file", 0.0, path=str(tmp_path / "exported" / "regions.pth"))
    again = studied(replace(config, probe=from_file, export=None), tmp_path / "again")
    tables = [pd.read_parquet(run.path / "key_neurons.parquet")[["language", "layer", "neuron"]] for run in (first, again)]
    pd.testing.assert_frame_equal(*tables)
    assert len(tables[0]) > 0
    with pytest.raises(InputError, match="export=.*this run folder has no key regions\nRemedy: add probe to stages"):
        studied(replace(config, stages=[Stage.capture]), tmp_path / "third")
