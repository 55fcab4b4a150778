"""The library: every step in Python gives the numbers of the command, on one's own texts and with one's own methods."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

import lf_experiments as lf
from lf_experiments.config.schema import ProbeConfig
from lf_experiments.library import model_config, step_of
from lf_experiments.measures.regions import Scores
from lf_experiments.models.load import Reader
from lf_experiments.neurons.activations import Activations

DOCS = Path(__file__).parents[1] / "docs" / "library.md"


@pytest.fixture(scope="module")
def model(model_folders: dict[str, Path]) -> Reader:
    return lf.load(model_folders["llama"], dtype="float32")


@pytest.fixture(scope="module")
def activations(model: Reader, parallel: dict[str, list[str]]) -> Activations:
    return lf.capture(model, parallel)


def loudest(activations: Activations, config: ProbeConfig) -> Scores:
    """A method of one's own: a neuron belongs to the languages whose sentences move it most, at whatever threshold."""
    rows = activations.language_S
    means = [
        torch.stack([h_SN[rows == row].double().mean(0) for row in range(len(activations.language_codes))])
        for h_SN in activations.h_L_SN
    ]
    return Scores(means, [mean_GN - mean_GN.amax(0) + config.threshold + 1e-9 for mean_GN in means])


# The steps --------------------------------------------------------------------------------------------------------------


def test_activations_are_those_of_the_reader_with_their_labels(
    activations: Activations, parallel: dict[str, list[str]], model: Reader
) -> None:
    assert activations.languages == [code for code in parallel for _ in range(3)]
    assert activations.meanings == ["0", "1", "2"] * len(parallel)
    text = parallel["ar"][1]
    alone = lf.capture(model, {"ar": [text]})
    row = activations.languages.index("ar") + 1
    for h_SN, alone_SN in zip(activations.h_L_SN, alone.h_L_SN, strict=True):
        torch.testing.assert_close(h_SN[row], alone_SN[0])


def test_scores_are_those_of_the_paper(activations: Activations, by_hand) -> None:
    similarity = by_hand.similarity(by_hand.unit_vectors(torch.stack(list(activations.h_L_SN)).numpy()))
    scores = lf.compare(activations, ["lrds", "sads"])
    labels = activations.languages, activations.meanings
    assert scores.whole["lrds"] == pytest.approx(by_hand.lrds(similarity, *labels), abs=1e-6)
    assert scores.whole["sads"] == pytest.approx(by_hand.sads(similarity, *labels), abs=1e-6)


def test_scores_print_as_a_table(activations: Activations) -> None:
    scores = lf.compare(activations, ["lrds", "sads"])
    title, lrds, sads, empty, header, *layers = str(scores).splitlines()
    low, high = scores.intervals(0.95)["sads"]
    assert lrds.startswith(f"lrds            {scores.whole['lrds']:.4f} (")
    assert sads == f"sads            {scores.whole['sads']:.4f} ({low:.4f}, {high:.4f})"
    assert (title, empty, header.split()) == ("whole model", "", ["layer", "lrds", "sads"])
    assert [line.split()[0] for line in layers] == ["0", "1", "2"]


def test_regions_by_name_by_function_and_with_a_threshold(activations: Activations) -> None:
    assert lf.probe(activations, "zscore", threshold=1.0).sklr > lf.probe(activations).sklr > 0
    mine = lf.probe(activations, loudest)
    assert all((is_key_GN.sum(0) >= 1).all() for is_key_GN in mine.is_key_L_GN)
    assert mine.sklr != lf.probe(activations).sklr


def test_perplexity_is_the_mean_loss_of_the_text_with_and_without_a_region(
    model: Reader, activations: Activations, parallel: dict[str, list[str]]
) -> None:
    region = lf.probe(activations, threshold=1.0)["fr"]
    texts = {code: parallel[code][1:] for code in ("en", "fr")}
    table = lf.perplexity(model, texts, [region.zero()]).set_index(["deactivated", "language"])

    def by_hand(language: str) -> float:
        nats, tokens = 0.0, 0
        for ids in map(torch.tensor, model.sequences(texts[language])):
            log_p_TV = model.model(input_ids=ids[None]).logits[0].double().log_softmax(dim=1)
            nats -= sum(float(log_p_TV[place, ids[place + 1]]) for place in range(len(ids) - 1))
            tokens += len(ids) - 1
        return math.exp(nats / tokens)

    with torch.no_grad():
        whole = {code: by_hand(code) for code in texts}
        with model.intervened(region.zero()):
            without = {code: by_hand(code) for code in texts}
    for code in texts:
        assert table.loc[("none", code), "perplexity"] == pytest.approx(whole[code], rel=1e-5)
        assert table.loc[("fr", code), "perplexity"] == pytest.approx(without[code], rel=1e-5)
        assert table.loc[("fr", code), "increase_percent"] == pytest.approx(100 * (without[code] / whole[code] - 1), rel=1e-3)


def test_a_text_without_anything_to_predict_is_refused(model: Reader) -> None:
    with pytest.raises(lf.InputError, match="the text in en is shorter than one window"):
        lf.perplexity(model, {"en": ["x"]})


def test_a_hub_repository_and_an_option_are_told_apart(tmp_path: Path) -> None:
    assert model_config("Qwen/Qwen3-0.6B-Base", {"dtype": "bfloat16"}).hub.repository == "Qwen/Qwen3-0.6B-Base"
    assert model_config("bloom-nano", {}).recipe.steps[0] == 0
    (tmp_path / "mine").mkdir()
    assert (model_config(str(tmp_path / "mine"), {}).name, model_config(str(tmp_path / "mine"), {}).path) == (
        "mine",
        str(tmp_path / "mine"),
    )
    assert [step_of(given) for given in (None, "final", 0, 7, "step30", "30")] == [None, None, 0, 7, 30, 30]


def test_sentences_are_those_of_the_command(tmp_path: Path) -> None:
    first = lf.sentences("miniature", languages=["en", "fr"], sentences=5, seed=3)
    assert (list(first.texts), len(first.meanings)) == (["en", "fr"], 5)
    assert first == lf.sentences(languages=["en", "fr"], sentences=5, seed=3)
    assert first != lf.sentences(languages=["en", "fr"], sentences=5, seed=4)
    assert len(lf.sentences(sentences=2).texts) == 9
    for code in ("en", "fr"):
        (tmp_path / f"{code}.txt").write_text(f"{code} one\n{code} two\n", encoding="utf-8")
    read = lf.sentences("files", languages=["en", "fr"], sentences=2, root=tmp_path)
    assert sorted(read.texts["fr"]) == ["fr one", "fr two"]


# What cannot be used ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: lf.load("bloom-nanno"), "model=bloom-nanno: there is none of this name\nRemedy: choose among bloom-nano,"),
        (lambda: lf.load("/nowhere/at/all"), "give a folder that is there, or a repository of the hub"),
        (lambda: lf.load("bloom-nano", checkpoint=7), "checkpoint.step=7: bloom-nano never published this step"),
        (lambda: lf.load("bloom-nano", checkpoint="seven"), "checkpoint=seven: it names no training step"),
        (lambda: lf.load("bloom-nano", dtyp="float16"), "model.dtyp=float16: Key 'dtyp' not in 'ModelConfig'"),
        (lambda: lf.load("bloom-nano", dtype="float8"), "model.dtype=float8: Invalid value 'float8'"),
        (lambda: lf.sentences("ntrexx"), "dataset=ntrexx: there is none of this name\nRemedy: choose among ntrex"),
        (lambda: lf.sentences(languages=["en", "en"]), "language_set.languages=['en', 'en']: two or more different languages"),
        (lambda: lf.sentences(languages=["en", "xx"]), "language_set.languages=['en', 'xx']: dataset=miniature has no xx"),
    ],
)
def test_bad_input_is_said_with_its_remedy(call, said: str) -> None:
    with pytest.raises(lf.InputError) as error:
        call()
    assert said in str(error.value)


def test_languages_of_different_lengths_are_refused(model: Reader) -> None:
    with pytest.raises(lf.InputError, match="different numbers of sentences"):
        lf.capture(model, {"en": ["a", "b"], "fr": ["c"]})


def test_a_method_that_is_not_there_and_a_threshold_that_is_never_reached(activations: Activations) -> None:
    with pytest.raises(lf.InputError, match="choose among .*zscore"):
        lf.probe(activations, "zzscore")
    with pytest.raises(lf.InputError, match="has no <lambda>|has no test_"):
        lf.probe(activations, lambda *_: None)
    with pytest.raises(lf.InputError, match=re.escape("sqrt(6 - 1) = 2.236")):
        lf.probe(activations, threshold=2.5)


# The face ---------------------------------------------------------------------------------------------------------------


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_the_face_is_lazy_and_complete() -> None:
    heavy = "sorted({'torch', 'transformers', 'pandas'} & set(sys.modules))"
    assert run(f"import sys, lf_experiments as lf; print({heavy}, 'capture' in dir(lf), hasattr(lf, 'nothing'))") == (
        "[] True False"
    )
    assert run("from lf_experiments import *; print(callable(load), Run.__name__)") == "True Run"
    assert all(callable(getattr(lf, name)) for name in lf.__all__)


def test_threads_sleep_soon_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = "import os, lf_experiments; print(os.environ['GOMP_SPINCOUNT'])"
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert run(asked) == "7"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    assert run(asked) == "3000"


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(lf.__file__).parent / "py.typed").is_file()


def test_the_examples_of_the_documentation_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """In order and in one namespace, with a model that is here in place of one that is grown or downloaded."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").symlink_to(model_folders["llama"])
    namespace: dict[str, object] = {}
    for example in re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL):
        exec(example.replace('lf.load("bloom-nano")', 'lf.load("model")'), namespace)
    assert "whole model" in capsys.readouterr().out
    assert isinstance(namespace["regions"]["fr"].where_L_N[0], Tensor)
