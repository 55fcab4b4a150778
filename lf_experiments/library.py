"""The library: the method section step by step in Python, without a run folder (docs/library.md).

model -> sentences -> activations -> similarity and its scores, key linguistic regions -> perplexity without them
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pandas as pd

from lf_experiments.config.checks import check_languages, check_model, check_probe
from lf_experiments.config.chosen import chosen, option_file
from lf_experiments.config.options import configuration_folder
from lf_experiments.config.schema import CheckpointConfig, Config, ModelConfig, TextConfig, Windows
from lf_experiments.corpora.parallel import ParallelSentences, drawn_sentences
from lf_experiments.errors import InputError
from lf_experiments.evaluations.cells import KeptCells
from lf_experiments.evaluations.perplexity import measure_perplexity, perplexity_table
from lf_experiments.evaluations.windows import text_windows
from lf_experiments.measures import probe as probing
from lf_experiments.measures import similarity
from lf_experiments.measures.regions import Regions
from lf_experiments.measures.similarity import Comparison
from lf_experiments.models.checkpoints import fetch_checkpoint, warn_of_known_faults
from lf_experiments.models.load import Reader, load_reader
from lf_experiments.neurons.activations import Activations
from lf_experiments.neurons.capture import capture_sentences
from lf_experiments.neurons.interventions import Intervention, nothing


def load(model: str | Path, checkpoint: int | str | None = None, **settings: Any) -> Reader:
    """A model, ready to read; it is downloaded or grown where it is not there.

    `model` is a name of conf/model (`bloom-nano`), a local folder in Hugging Face layout, a `.gguf` file, or a repository of
    the hub (`Qwen/Qwen3-0.6B-Base`). `checkpoint` is a published training step, by default the final weights. `settings` are
    keys of the group `model`: `dtype="bfloat16"`, `device_map="auto"`, `special_tokens="none"`, `tokenizer=FOLDER` ...

    Raises `InputError` for a model that is not found, cannot be loaded, or has not published the step.
    """
    config = model_config(str(model), settings)
    step = CheckpointConfig(step_of(checkpoint))
    check_model(config, step)
    warn_of_known_faults(config, step)
    folder = fetch_checkpoint(Config(model=config, checkpoint=step, cache=chosen("cache", None, {})))
    return load_reader(folder, config)


def sentences(
    dataset: str = "miniature",
    languages: Sequence[str] | None = None,
    sentences: int = 100,
    root: str | Path | None = None,
    seed: int = 0,
) -> ParallelSentences:
    """Parallel sentences: `sentences` meanings, drawn with the seed, the same in every language.

    `dataset` is a name of conf/dataset, or `module:function` for a reader of your own; `root` a folder with its files, needed
    for `files`. `languages` are codes, by default those of the paper. Raises `InputError` for a corpus that cannot be read or
    lacks a language.
    """
    values: dict[str, Any] = {"sentences": sentences} | ({"root": str(root)} if root else {})
    if ":" in dataset:
        values |= {"name": dataset, "source": dataset}
    elif option_file("dataset", dataset) is None:
        raise unknown("dataset", dataset, "give module:function for a reader of your own")
    codes = list(languages or chosen("language_set", "paper9", {}).languages)
    check_languages(codes)
    return drawn_sentences(chosen("dataset", dataset, values), codes, seed)


def capture(
    model: Reader, corpus: ParallelSentences | Mapping[str, Sequence[str]], batch_tokens: int = 4096, pool: str = "mean"
) -> Activations:
    """What every neuron does on every sentence (eq. 5), with the language and the meaning of each.

    `corpus` comes from `sentences`, or is {language: sentences} where the same position is the same meaning. `pool` is what is
    kept of a neuron over the tokens: `mean` (the paper), `rate`, `magnitude` ... (`neurons/pooling.py`). A forward pass reads
    at most `batch_tokens` tokens, padding included. Raises `InputError` for a sentence without tokens and for activations that
    are not finite.
    """
    if not isinstance(corpus, ParallelSentences):
        corpus = parallel(corpus)
    return capture_sentences(model, corpus, batch_tokens, [pool])[pool]


def compare(activations: Activations, measures: Sequence[str | Callable[..., Any]] | None = None) -> Comparison:
    """How alike the sentences are to the model (eq. 7), and the scores of that: LRDS (eq. 8), SADS (eq. 9), and others by name.

    `measures` are names of `measures/alignment`, by default all, `module:function`, or functions (language blocks) -> value of
    every pair that can be imported by their name. Printed, it is a table of the whole model and of every layer; `by_layer()`
    and `by_pair()` are the tables of a run folder. Raises `InputError` for a measure that is not found.
    """
    return similarity.compare(activations, None if measures is None else list(map(name_of, measures)))


def probe(
    activations: Activations | Sequence[Activations],
    method: str | Callable[..., Any] = "zscore",
    threshold: float | None = None,
    **settings: Any,
) -> Regions:
    """The key linguistic region of every language (sec. 3.3): `regions["fr"].zero()` is the intervention that switches it off.

    `method` is one of `measures/probes`, `module:function`, or a function (activations, config) -> `Scores` that can be
    imported by its name. A neuron is key where its z exceeds `threshold`, by default that of the method; `budget="top:0.01"`
    takes the highest 1 % of all neurons for each language instead, `budget="as:zscore"` as many as that method finds. Give the
    activations of several pools where the method and its budget read different ones. Raises `InputError` for a method that is
    not found, and for a threshold that no z-score reaches.
    """
    name = name_of(method)
    values = {"name": name, **settings} | ({} if threshold is None else {"threshold": threshold})
    config = chosen("probe", name, values)
    captured = [activations] if isinstance(activations, Activations) else activations
    check_probe(config, len(captured[0].language_codes))
    return probing.probe({of_pool.pool: of_pool for of_pool in captured}, config)


def perplexity(
    model: Reader,
    texts: ParallelSentences | Mapping[str, Sequence[str]],
    interventions: Iterable[Intervention] = (),
    batch_tokens: int = 4096,
) -> pd.DataFrame:
    """How well the model predicts the texts of every language, as it is and under each intervention (sec. 4.3).

    `texts` are {language: documents}, each read by itself, or parallel sentences. The columns are those of `perplexity.csv`:
    the rows of the model as it is have `none` under `deactivated`, `increase_percent` compares the others with them. Raises
    `InputError` for texts that are too short to predict anything, and for logits that are not finite.
    """
    documents = texts.texts if isinstance(texts, ParallelSentences) else texts
    cut = TextConfig(windows=Windows.documents)
    windows = {language: text_windows(model, list(given), cut, language) for language, given in documents.items()}
    done = [nothing(model.widths), *interventions]
    return perplexity_table(measure_perplexity(model, done, windows, batch_tokens, KeptCells()))


def name_of(method: str | Callable[..., Any]) -> str:
    """The name by which a configuration would give a method: `module:function` of a function."""
    return method if isinstance(method, str) else f"{method.__module__}:{method.__qualname__}"


def model_config(model: str, settings: Mapping[str, Any]) -> ModelConfig:
    """The group `model` for the name of an option, a folder, or a repository."""
    if option_file("model", model):
        return chosen("model", model, settings)
    folder = Path(model).expanduser()
    if folder.exists():
        return chosen("model", None, {"name": folder.resolve().name.removesuffix(".gguf"), "path": str(folder), **settings})
    if re.fullmatch(r"[\w.-]+/[\w.-]+", model):
        return chosen("model", None, {"name": model, "hub": {"repository": model}, **settings})
    raise unknown("model", model, "give a folder that is there, or a repository of the hub as organisation/name")


def step_of(checkpoint: int | str | None) -> int | None:
    """The training step that `3000`, `step3000` or `final` stands for; None is the final weights."""
    if checkpoint in (None, "final"):
        return None
    found = re.fullmatch(r"(?:step)?(\d+)", str(checkpoint))
    if not found:
        raise InputError("checkpoint", checkpoint, "it names no training step", "give final, a number, or step<number>")
    return int(found[1])


def parallel(texts: Mapping[str, Sequence[str]]) -> ParallelSentences:
    """Sentences of one's own; their position is their meaning."""
    counts = {language: len(of_language) for language, of_language in texts.items()}
    if len(set(counts.values())) != 1:
        problem = "the languages have different numbers of sentences"
        raise InputError("corpus", counts, problem, "give the same meanings in each")
    meanings = [str(number) for number in range(len(next(iter(texts.values()))))]
    return ParallelSentences(meanings, {language: list(of_language) for language, of_language in texts.items()})


def unknown(group: str, name: str, otherwise: str) -> InputError:
    """The error for an option that there is not: it names those that are spelt alike."""
    options = sorted(path.stem for path in Path(configuration_folder(), group).glob("*.yaml"))
    alike = get_close_matches(name, options, n=5, cutoff=0.5) or options
    return InputError(group, name, "there is none of this name", f"choose among {', '.join(alike)}, or {otherwise}")
