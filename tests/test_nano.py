"""Grown models: ordinary folders, one per published step, the same for the same recipe, and never half a model."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lf_experiments.config.schema import Architecture, CheckpointConfig, ModelConfig, Recipe
from lf_experiments.corpora.miniature.world import MINIATURE_LANGUAGES, meanings, sentence, table
from lf_experiments.models.checkpoints import grow_once, training_step, training_tokens
from lf_experiments.models.fingerprints import weight_fingerprint
from lf_experiments.models.load import load_reader
from lf_experiments.models.nano import growth
from lf_experiments.models.nano.tokenizer import trained_tokenizer

RECIPE = Recipe(
    architecture=Architecture.bloom,
    hidden_size=16,
    layers=2,
    heads=2,
    vocabulary=320,
    window=32,
    batch_size=4,
    learning_rate=1e-2,
    warmup_steps=2,
    steps=[0, 3, 30],
)


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grow_once("tiny", RECIPE, tmp_path_factory.mktemp("cache"))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return AutoModelForCausalLM.from_pretrained(folder, dtype="float32").state_dict()


def test_there_is_one_ordinary_folder_per_published_step(grown: Path) -> None:
    assert {path.name for path in grown.iterdir()} == {"step0", "step3", "step30"}
    for folder in grown.iterdir():
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in folder.iterdir()}
        assert AutoModelForCausalLM.from_pretrained(folder).config.model_type == "bloom"


@pytest.mark.parametrize("architecture", list(Architecture))
def test_a_grown_model_is_loaded_like_any_other(architecture: Architecture, tmp_path: Path) -> None:
    recipe = replace(RECIPE, architecture=architecture, steps=[0, 1])
    folder = grow_once("tiny", recipe, tmp_path) / "step1"
    reader = load_reader(folder, ModelConfig(name="tiny", path=str(folder)))
    assert reader.model.config.model_type == architecture.value
    assert len(reader.sites) == recipe.layers
    assert reader.widths == [4 * recipe.hidden_size] * recipe.layers


def test_a_model_that_is_not_trained_at_all_can_be_published(tmp_path: Path) -> None:
    folder = grow_once("tiny", replace(RECIPE, steps=[0]), tmp_path)
    assert [path.name for path in folder.iterdir()] == ["step0"]


def test_training_changes_the_weights_and_lowers_the_loss(grown: Path) -> None:
    before, after = weights(grown / "step0"), weights(grown / "step30")
    assert any(not torch.equal(before[name], after[name]) for name in before)
    tokenizer = AutoTokenizer.from_pretrained(grown / "step0")
    ids = torch.tensor([tokenizer(sentence(meanings("training")[0], "en"))["input_ids"]])
    losses = [AutoModelForCausalLM.from_pretrained(grown / step)(ids, labels=ids).loss.item() for step in ("step0", "step30")]
    assert losses[1] < losses[0]


def test_the_same_recipe_gives_the_same_weights_and_another_seed_others(grown: Path, tmp_path: Path) -> None:
    again = grow_once("tiny", RECIPE, tmp_path / "again")
    other = grow_once("tiny", replace(RECIPE, seed=1), tmp_path / "other")
    for step in ("step0", "step30"):
        assert weight_fingerprint(again / step) == weight_fingerprint(grown / step)
        assert weight_fingerprint(other / step) != weight_fingerprint(grown / step)


def test_growth_does_not_depend_on_the_callers_threads_or_random_state(grown: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(123)
    state = torch.random.get_rng_state()
    try:
        again = grow_once("tiny", RECIPE, tmp_path)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)
    assert weight_fingerprint(again / "step30") == weight_fingerprint(grown / "step30")
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_window_begins_with_a_document_and_is_about_one_subject() -> None:
    recipe = replace(RECIPE, window=128, batch_size=12, vocabulary=1400)
    tokenizer = trained_tokenizer(growth.training_sentences(), recipe.vocabulary, recipe.window)
    of_subject = {
        subject: [sentence(meaning, code) for meaning in meanings("training", subject) for code in MINIATURE_LANGUAGES]
        for subject in table("subjects")
    }
    seen = set()
    for ids in next(growth.token_batches(recipe, tokenizer)):
        text = tokenizer.decode(ids)
        found = [subject for subject, sentences in of_subject.items() if any(one in text for one in sentences)]
        assert len(found) == 1
        assert any(text.startswith(one) for one in of_subject[found[0]])
        seen.update(found)
    assert len(seen) > 3


@pytest.mark.parametrize(("architecture", "attention", "mlps"), [(Architecture.bloom, 2, 2), (Architecture.llama, 4, 3)])
def test_matrices_of_attention_and_of_mlps_have_rates_of_their_own(
    grown: Path, architecture: Architecture, attention: int, mlps: int
) -> None:
    recipe = replace(RECIPE, architecture=architecture, mlp_learning_rate=0.5, attention_learning_rate=0.7, weight_decay=0.3)
    model = growth.untrained_model(recipe, AutoTokenizer.from_pretrained(grown / "step0"))
    adam, muon = growth.optimizers_of(model, recipe)
    of_mlps, others = adam.param_groups
    assert (of_mlps["lr"], of_mlps["weight_decay"]) == (0.5, 0.3)
    assert (others["lr"], others["weight_decay"]) == (recipe.learning_rate, 0.0)
    assert {group["lr"] for group in muon.param_groups} == {0.7}
    turned = [weight for group in muon.param_groups for weight in group["params"]]
    assert (len(turned), len(of_mlps["params"])) == (attention * recipe.layers, mlps * recipe.layers)
    together = [id(weight) for weights in (turned, of_mlps["params"], others["params"]) for weight in weights]
    assert sorted(together) == sorted(map(id, model.parameters()))
    blocks = {tuple(group["params"][0].shape): group["blocks"] for group in muon.param_groups}
    assert blocks == ({(16, 16): 1, (48, 16): 6} if architecture is Architecture.bloom else {(16, 16): 1})


def test_the_learning_rate_rises_and_then_falls_to_a_tenth() -> None:
    factors = [growth.learning_rate_factor(step, replace(RECIPE, warmup_steps=10, steps=[0, 100])) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == factors[9] == pytest.approx(1, abs=0.03)
    assert factors[50] == pytest.approx(0.55)
    assert factors[100] == pytest.approx(0.1)


def test_a_grown_model_is_grown_once(grown: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "grow", lambda *_: pytest.fail("grown twice"))
    assert grow_once("tiny", RECIPE, grown.parents[1]) == grown


def test_every_value_of_the_recipe_names_another_model(grown: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "grow", lambda *_: None)
    changed = [
        replace(RECIPE, **change) for change in ({"layers": 3}, {"seed": 1}, {"learning_rate": 1e-3}, {"steps": [0, 30]})
    ]
    names = {grow_once("tiny", recipe, grown.parents[1]).name for recipe in changed}
    assert len(names | {grown.name}) == 5


def test_an_interrupted_growth_leaves_nothing_that_looks_like_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> float:
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(growth, "update", stop)
        with pytest.raises(KeyboardInterrupt):
            grow_once("tiny", RECIPE, tmp_path)
    left = [path for path in (tmp_path / "models").iterdir() if not path.name.startswith(".")]
    assert left == []
    folder = grow_once("tiny", RECIPE, tmp_path)
    assert {path.name for path in folder.iterdir()} == {"step0", "step3", "step30"}
    assert [path.name for path in folder.parent.iterdir() if path.name.endswith(".partial")] == []


def test_the_final_step_is_the_last_published_one() -> None:
    assert training_step(RECIPE, CheckpointConfig(None)) == 30
    assert training_step(RECIPE, CheckpointConfig(3)) == 3
    assert training_step(None, CheckpointConfig(None)) is None


def test_training_tokens_are_steps_times_windows() -> None:
    assert training_tokens(RECIPE, CheckpointConfig(3)) == 3 * 4 * 32
    assert training_tokens(RECIPE, CheckpointConfig(0)) == 0
    assert training_tokens(None, CheckpointConfig(None)) is None


def test_the_tokenizer_gives_every_sentence_back(grown: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(grown / "step0")
    assert len(tokenizer) == RECIPE.vocabulary
    for language in MINIATURE_LANGUAGES:
        text = sentence(meanings("analysis")[0], language)
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
