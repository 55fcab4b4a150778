"""Every file of conf/model: its shape, built without weights, against what is published; the names of its training steps."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from transformers import PreTrainedModel

from lf_experiments.__main__ import configuration_folder
from lf_experiments.config.read import read_config
from lf_experiments.config.schema import Config, ModelConfig, Shape
from lf_experiments.errors import InputError
from lf_experiments.models.checkpoints import hub_revision
from lf_experiments.models.families import neuron_sites, number_of_experts
from lf_experiments.models.shapes import empty_model, shape_config
from lf_experiments.wording import in_words

CONF = Path(configuration_folder())
FILES = {path.stem: path.read_text(encoding="utf-8") for path in CONF.glob("model/*.yaml")}
NAMES = sorted(FILES)
HUB_NAMES = [name for name in NAMES if "\nhub:\n" in FILES[name]]
STEPPED_NAMES = [name for name in HUB_NAMES if "revision" in FILES[name]]
PYTHIA = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, *range(1000, 143_001, 1000)]
TABLE = Path(__file__).parents[1] / "docs" / "models.md"


def read(*overrides: str) -> Config:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return read_config(compose("config", list(overrides)))


@cache
def model_config(name: str) -> ModelConfig:
    return read(f"model={name}", *(["model.path=/m"] if name == "local" else [])).model


def parameters_of(model: PreTrainedModel) -> int:
    """Its parameters, shared ones counted once."""
    return sum({id(parameter): parameter.numel() for parameter in model.parameters()}.values())


def deviation(shape: Shape) -> float:
    """By which part the model of a shape has more or fewer parameters than are published."""
    return abs(parameters_of(empty_model(shape_config(shape))) / shape.parameters - 1)


def neurons_per_layer(shape: Shape) -> int:
    """Of all experts of a mixture: those named have no other neurons."""
    return shape.d_ff * (number_of_experts(shape_config(shape)) or 1)


# The files --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_named_after_its_model_and_says_what_it_is(name: str) -> None:
    config = model_config(name)
    assert config.name == ("m" if name == "local" else name)  # a local model is called as its folder
    assert (config.shape is not None) == (config.hub is not None)
    assert config.device_map is None
    assert FILES[name].startswith("# ")
    assert (config.hub is not None, bool(config.hub and config.published_steps)) == (name in HUB_NAMES, name in STEPPED_NAMES)


def test_no_two_files_are_of_the_same_repository() -> None:
    assert len({model_config(name).hub.repository for name in HUB_NAMES}) == len(HUB_NAMES)


# Shapes -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=HUB_NAMES)
def named_model(request: pytest.FixtureRequest) -> tuple[str, PreTrainedModel]:
    """Each model in turn, without weights."""
    return request.param, empty_model(shape_config(model_config(request.param).shape))


def test_a_shape_has_the_published_number_of_parameters(named_model) -> None:
    name, model = named_model
    assert parameters_of(model) == pytest.approx(model_config(name).shape.parameters, rel=5e-3)
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


def test_a_shape_has_its_layers_and_its_neurons_where_they_are_looked_for(named_model) -> None:
    name, model = named_model
    shape = model_config(name).shape
    assert [site.width for site in neuron_sites(model)] == [neurons_per_layer(shape)] * shape.layers


TIED = ("bloom", "gemma", "xglm", "aya", "command", "smollm3")
TIED_SIZES = {
    "llama3.2-1b",
    "llama3.2-3b",
    "qwen2.5-0.5b",
    "qwen2.5-1.5b",
    "qwen2.5-3b",
    "qwen3-0.6b",
    "qwen3-1.7b",
    "qwen3-4b",
}


def test_the_head_is_that_of_the_embedding_where_it_is_published_so(named_model) -> None:
    name, model = named_model
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert tied == (name.startswith(TIED) or name in TIED_SIZES)


def test_the_neurons_of_the_models_of_the_paper() -> None:
    shapes = {name: model_config(name).shape for name in ("bloom-7b1", "llama2-7b", "llama2-70b")}
    assert {name: shape.layers * shape.d_ff for name, shape in shapes.items()} == {
        "bloom-7b1": 491_520,
        "llama2-7b": 352_256,
        "llama2-70b": 2_293_760,
    }


LLAMA = model_config("llama2-7b").shape
BLOOM = model_config("bloom-560m").shape


@pytest.mark.parametrize(
    "wrong",
    [
        {"d_ff": 11_264},
        {"layers": 33},
        {"hidden_size": 4224},
        {"vocabulary": 128_256},
        {"settings": {"num_key_value_heads": 8}},
        {"settings": {"tie_word_embeddings": True}},
        {"model_type": "gpt_neox"},
    ],
)
def test_a_wrong_shape_has_another_number_of_parameters(wrong: dict) -> None:
    assert deviation(LLAMA) < 1e-6
    assert deviation(replace(LLAMA, **wrong)) > 5e-3


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            replace(LLAMA, model_type="lama"),
            r"^model.shape.model_type=lama: transformers has no such architecture\nRemedy: give",
        ),
        (
            replace(LLAMA, settings={"num_kv_heads": 8}),
            r"^model.shape.settings.num_kv_heads=8: llama has no such setting\nRemedy: give the name it has in config.json$",
        ),
        (
            replace(BLOOM, d_ff=4000),
            r"^model.shape.d_ff=4000: a layer of bloom with a hidden size of 1024 has 4096 neurons\nRemedy: give this number",
        ),
    ],
)
def test_a_shape_that_cannot_be_is_refused(shape: Shape, message: str) -> None:
    with pytest.raises(InputError, match=message):
        shape_config(shape)


# Training steps -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STEPPED_NAMES)
def test_every_published_step_has_a_revision_of_its_own(name: str) -> None:
    config = model_config(name)
    revisions = {hub_revision(config.hub, step) for step in config.published_steps}
    assert len(revisions) == len(config.published_steps)
    assert not any("{" in revision for _, revision in revisions)
    assert set(config.hub.known_bad) <= set(config.published_steps)
    assert not set(config.hub.steps) & set(config.hub.revisions)


@pytest.mark.parametrize(
    ("name", "step", "repository", "revision"),
    [
        ("bloom-176b", 93_000, "bigscience/bloom-intermediate", "global_step93000"),
        ("pythia-1.4b", 512, "EleutherAI/pythia-1.4b", "step512"),
        ("olmo2-1b", 0, "allenai/OLMo-2-0425-1B", "stage1-step0-tokens0B"),
        ("olmo2-1b", 300, "allenai/OLMo-2-0425-1B", "stage1-step300-tokens1B"),
        ("olmo2-1b", 1_200_000, "allenai/OLMo-2-0425-1B", "stage1-step1200000-tokens2517B"),
        ("olmo2-1b", 1_907_359, "allenai/OLMo-2-0425-1B", "stage1-step1907359-tokens4001B"),
        ("olmo2-7b", 150, "allenai/OLMo-2-1124-7B", "stage1-step150-tokens1B"),
        ("olmo2-7b", 1000, "allenai/OLMo-2-1124-7B", "stage1-step1000-tokens5B"),
        ("olmo2-7b", 384_000, "allenai/OLMo-2-1124-7B", "stage1-step384000-tokens1611B"),
        ("olmo2-7b", 928_646, "allenai/OLMo-2-1124-7B", "stage1-step928646-tokens3896B"),
        ("olmo2-13b", 1000, "allenai/OLMo-2-1124-13B", "stage1-step1000-tokens9B"),
        ("olmo2-13b", 596_057, "allenai/OLMo-2-1124-13B", "stage1-step596057-tokens5001B"),
        ("olmo2-32b", 65_000, "allenai/OLMo-2-0325-32B", "stage1-step65000-tokens546B"),
        ("olmo2-32b", 721_901, "allenai/OLMo-2-0325-32B", "stage1-step721901-tokens6056B"),
        ("olmo3-7b", 1_413_814, "allenai/Olmo-3-1025-7B", "stage1-step1413814"),
        ("olmo3-32b", 656_000, "allenai/Olmo-3-1125-32B", "stage1-step656000"),
        ("smollm3-3b", 40_000, "HuggingFaceTB/SmolLM3-3B-checkpoints", "stage1-step-40000"),
        ("smollm3-3b", 4_200_000, "HuggingFaceTB/SmolLM3-3B-checkpoints", "stage2-step-4200000"),
        ("smollm3-3b", 4_720_000, "HuggingFaceTB/SmolLM3-3B-checkpoints", "stage3-step-4720000"),
        ("fuxitranyu-8b", 94, "TJUNLP/FuxiTranyu-8B", "94B"),
        ("apertus-8b", 1_750_000, "swiss-ai/Apertus-8B-2509", "step1750000-tokens7652B"),
        ("apertus-8b", 2_627_139, "swiss-ai/Apertus-8B-2509", "step2627139-tokens15T"),
    ],
)
def test_a_step_is_where_the_hub_has_it(name: str, step: int, repository: str, revision: str) -> None:
    assert step in model_config(name).published_steps
    assert hub_revision(model_config(name).hub, step) == (repository, revision)


def test_the_steps_that_were_published() -> None:
    published = {name: model_config(name).published_steps for name in STEPPED_NAMES}
    assert published["bloom-176b"] == [*range(5000, 90_001, 5000), 91_000, 92_000, 93_000]
    assert published["smollm3-3b"] == list(range(40_000, 4_720_001, 40_000))
    assert len(published["apertus-8b"]) == 44
    assert len(published["fuxitranyu-8b"]) == 57
    for size in ("70m", "160m", "410m", "1b", "1.4b", "6.9b", "12b"):
        assert published[f"pythia-{size}"] == PYTHIA
        assert model_config(f"pythia-{size}").hub.tokens_per_step == 1024 * 2048


def test_the_steps_of_pythia_2_8b_are_without_those_that_have_the_final_weights() -> None:
    of_main = {
        *PYTHIA[:64],
        55_000,
        60_000,
        65_000,
        70_000,
        80_000,
        90_000,
        100_000,
        103_000,
        110_000,
        120_000,
        130_000,
        140_000,
    }
    of_the_end = {54_000, 56_000, 57_000, 58_000, 59_000, 61_000, 62_000, 63_000, 64_000}
    assert (len(of_main), len(of_the_end)) == (76, 9)
    assert model_config("pythia-2.8b").published_steps == sorted(set(PYTHIA) - of_main - of_the_end)


FAMILIES_OF_ONE = [
    "command-r7b", "fuxitranyu-8b", "gpt-oss-20b", "lucie-7b", "mistral-7b-v0.1", "mistral-7b-v0.3",
    "mistral-nemo-12b", "mixtral-8x7b", "olmoe-1b-7b", "qwen3-30b-a3b", "smollm3-3b",
]  # fmt: skip
"""Models without others that differ from them in size alone."""


def test_models_of_one_family_have_one_architecture_and_different_sizes() -> None:
    families: dict[str, list[str]] = {}
    for name in NAMES:
        families.setdefault(model_config(name).family, []).append(name)
    assert families.pop(None) == ["local"]
    assert sorted(name for names in families.values() if len(names) == 1 for name in names) == FAMILIES_OF_ONE
    for names in families.values():
        models = [model_config(name) for name in names]
        assert len({model.shape.model_type if model.shape else model.recipe.architecture for model in models}) == 1
        sizes = [model.shape.parameters if model.shape else (model.recipe.layers, model.recipe.hidden_size) for model in models]
        assert len(set(sizes)) == len(sizes)


def test_a_family_is_no_matter_of_spelling() -> None:
    assert model_config("llama3.2-1b").family == "llama3.2" != model_config("llama2-7b").family
    assert model_config("bloom-nano").family != model_config("bloom-7b1").family


def test_a_step_with_a_name_of_its_own_counts_as_published() -> None:
    assert read("model=apertus-8b", "checkpoint=step", "checkpoint.step=1750000").checkpoint.step == 1_750_000
    named = read("model=llama2-7b", "model.hub.steps=[1]", "+model.hub.revisions={1: first}", "checkpoint=step1")
    assert named.model.published_steps == [1]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["model=pythia-70m", "checkpoint=step", "checkpoint.step=3"],
            r"^checkpoint.step=3: pythia-70m never published this step\nRemedy: its steps are 0, 1, 2, 4, 8, 16, 32, 64, "
            r"128, 256, 512, 1000 to 143000 by 1000; checkpoint=final is the last$",
        ),
        (
            ["model=olmo2-7b", "model.hub.tokens_per_step=null"],
            r"^model.hub.tokens_per_step=null: stage1-step\{step\}-tokens\{billion_tokens\}B needs the tokens of "
            r"training step 150\nRemedy: give the tokens of one step, or name its revision in model.hub.revisions$",
        ),
        (
            ["model=apertus-8b", "model.hub.steps=[50000, 50001]"],
            r"^model.hub.checkpoint_revision=null: it does not say what the revision of training step 50001 is called\nRemedy",
        ),
        (
            ["model=apertus-8b", "model.hub.steps=[7]", "model.hub.checkpoint_revision=step"],
            r"^model.hub.checkpoint_revision=step: it does not say what the revision of training step 7 is called\nRemedy: put",
        ),
    ],
)
def test_a_step_that_is_not_published_or_has_no_name_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(*overrides)


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([], ""),
        ([7], "7"),
        ([1, 2, 3, 4], "1, 2, 3, 4"),
        ([1, 2, 3, 4, 5], "1 to 5 by 1"),
        ([0, 1, 2, 4, 6, 8, 10, 11], "0, 1, 2 to 10 by 2, 11"),
        ([5, 10, 15, 20, 25, 26, 27], "5 to 25 by 5, 26, 27"),
    ],
)
def test_many_steps_at_the_same_distance_are_said_in_one_breath(steps: list[int], words: str) -> None:
    assert in_words(steps) == words


# The table ----------------------------------------------------------------------------------------------------------------


def family_and_size(name: str) -> tuple[str, int]:
    return name.split("-")[0], model_config(name).shape.parameters


def row(name: str) -> str:
    model = model_config(name)
    shape, steps = model.shape, model.published_steps
    cells = [
        f"`{name}`",
        shape.model_type,
        shape.layers,
        f"{experts} x {shape.d_ff:,}" if (experts := number_of_experts(shape_config(shape))) else f"{shape.d_ff:,}",
        f"{shape.layers * neurons_per_layer(shape):,}",
        f"{shape.parameters:,}",
        f"[{model.hub.repository}](https://huggingface.co/{model.hub.repository})",
        f"{len(steps)}: {steps[0]}-{steps[-1]}" if steps else "",
        "yes" if model.hub.gated else "",
    ]
    return f"| {' | '.join(map(str, cells))} |"


def test_the_table_of_the_models_says_what_the_files_say() -> None:
    rows = [row(name) for name in sorted(HUB_NAMES, key=family_and_size)]
    written = [line for line in TABLE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert written == rows, "the rows of docs/models.md should be\n" + "\n".join(rows)
