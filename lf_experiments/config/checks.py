"""Checks across keys: values that are valid one by one but cannot work together, and values out of range."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import asdict
from operator import attrgetter
from typing import Any

from lf_experiments.config.budget import budget_of
from lf_experiments.config.chosen import chosen
from lf_experiments.config.retired import refuse_retired
from lf_experiments.config.schema import (
    Baseline,
    CheckpointConfig,
    Config,
    GenerationConfig,
    HubModel,
    ModelConfig,
    ProbeConfig,
    Stage,
    UncertaintyConfig,
)
from lf_experiments.errors import InputError
from lf_experiments.extensions import beside, load_named
from lf_experiments.wording import in_words

LEAST = {
    "model.context": 1,
    "dataset.sentences": 2,
    "text.documents": 1,
    "text.window": 2,
    "text.window_count": 1,
    "cloze.stories": 1,
    "probe.threshold": 0,
    "probe.weight": 0,
    "uncertainty.permutations": 0,
    "uncertainty.halves": 0,
    "control.draws": 0,
    "control.paper": 0,
    "description.neurons": 0,
    "generation.samples": 1,
    "generation.tokens": 1,
    "runtime.batch_tokens": 1,
    "runtime.num_processes": 1,
    "runtime.tensor_parallel": 1,
    "cache.max_gib": 0,
}
"""The smallest value of a key, where it has a value."""

PROBES = "lf_experiments.measures.probes"

RESERVED_CODES = ("none", "random")
"""Names in the column `deactivated` of the tables, which a language cannot have: the full model, and random neurons."""


def check(config: Config) -> None:
    """Raise `InputError` for values that are out of range or cannot work together."""
    check_finite(asdict(config))
    check_languages(config.languages)
    check_model(config.model, config.checkpoint)
    for key, least in LEAST.items():
        value = attrgetter(key)(config)
        if value is not None:
            at_least(key, value, least)
    check_probe(config.probe, len(config.languages))
    check_meanings(config.probe.meanings, config.dataset.sentences)
    check_uncertainty(config.uncertainty, config.probe)
    check_baselines(config.baselines)
    check_doses(config.intervention.doses)
    check_share("intervention.fraction", config.intervention.fraction, "a region")
    check_stages(config.stages)
    check_generation(config.generation, config.languages, config.dataset.sentences)
    check_tags(config.tracking.tags)
    check_tensor_parallel(config)


def check_finite(values: dict[str, Any]) -> None:
    """Refuse NaN and infinity, which no key has a use for and JSON cannot write."""
    for key, value in leaves(values):
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(key, value, "a finite number is needed", f"give {key}=NUMBER")


def leaves(values: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything in nested dicts and lists; all values of a list have its key."""
    if isinstance(values, dict):
        for name, value in values.items():
            yield from leaves(value, f"{key}.{name}" if key else str(name))
    elif isinstance(values, list):
        for value in values:
            yield from leaves(value, key)
    else:
        yield key, values


def check_languages(languages: list[str]) -> None:
    """Two or more different codes, each of which can name a file and a row of a table."""
    if len(set(languages)) != len(languages) or len(languages) < 2:
        raise InputError(
            "language_set.languages", languages, "two or more different languages are needed", "name each language once"
        )
    for code in languages:
        if code in RESERVED_CODES:
            problem = f"{code} has a meaning of its own in the tables and cannot be the code of a language"
            raise InputError("language_set.languages", languages, problem, f"call the language x-{code}, and its files too")
        if not code.strip() or ".." in code or re.search(r"[/\\\x00]", code):
            problem = f"{code!r} cannot be a file name, and files are named after languages"
            raise InputError("language_set.languages", languages, problem, "give codes without / and .., such as zh-Hant")


def check_model(model: ModelConfig, checkpoint: CheckpointConfig) -> None:
    if sum(place is not None for place in (model.path, model.recipe, model.hub)) != 1:
        raise InputError(
            "model.path",
            model.path or "null",
            "a model is either a folder in Hugging Face layout, a recipe or a repository of the hub, and needs one of them",
            "give model=local model.path=FOLDER, or choose another model by its name",
        )
    refuse_retired("model.add_special_tokens", model.add_special_tokens)
    if model.hub:
        check_revisions(model.hub)
    published = model.published_steps
    if checkpoint.step is not None and checkpoint.step not in published:
        choices = f"its steps are {in_words(published)}" if published else "it has only its final weights"
        raise InputError(
            "checkpoint.step",
            checkpoint.step,
            f"{model.name} never published this step",
            f"{choices}; checkpoint=final is the last",
        )


def check_revisions(hub: HubModel) -> None:
    """Raise `InputError` where nothing says what the revision of a published step is called."""
    pattern = hub.checkpoint_revision or ""
    unnamed = sorted(set(hub.steps) - set(hub.revisions))
    if unnamed and "{step}" not in pattern:
        raise InputError(
            "model.hub.checkpoint_revision",
            hub.checkpoint_revision or "null",
            f"it does not say what the revision of training step {unnamed[0]} is called",
            "put {step} where its number stands, as in global_step{step}, or name it in model.hub.revisions",
        )
    if unnamed and "billion_tokens}" in pattern and hub.tokens_per_step is None:
        raise InputError(
            "model.hub.tokens_per_step",
            "null",
            f"{pattern} needs the tokens of training step {unnamed[0]}",
            "give the tokens of one step, or name its revision in model.hub.revisions",
        )


def check_tensor_parallel(config: Config) -> None:
    """Where processes share layers, transformers alone says where weights go, and no process has all of a matrix."""
    shards, model = config.runtime.tensor_parallel, config.model
    other = {
        "model.device_map": model.device_map,
        "model.max_memory": model.max_memory,
        "model.quantization": model.quantization and model.quantization.name,
        "export": config.export,
    }
    for key, value in other.items():
        if shards > 1 and value:
            problem, remedy = f"it cannot be had together with {key}={value}", "leave out one of the two"
            raise InputError("runtime.tensor_parallel", shards, problem, remedy)


def check_generation(generation: GenerationConfig, languages: list[str], sentences: int) -> None:
    if generation.samples > sentences:
        raise InputError(
            "generation.samples",
            generation.samples,
            f"only {sentences} sentences per language are drawn",
            f"give generation.samples={sentences} or less, or more dataset.sentences",
        )
    others = [language for language in generation.languages or [] if language not in languages]
    if others:
        raise InputError(
            "generation.languages",
            generation.languages,
            f"{', '.join(others)} is not under study",
            f"choose among {', '.join(languages)}",
        )


def check_probe(probe: ProbeConfig, languages: int) -> None:
    """Raise `InputError` for a method that there is not, and for settings that the method or its budget refuses."""
    budget = budget_of(probe.budget)
    refuse = beside(load_named("probe.name", PROBES, probe.name), "check")
    if refuse and probe.budget == "threshold":
        refuse(probe, languages)
    if budget.method is not None:
        check_budget_method(budget.method, languages)


def check_budget_method(method: str, languages: int) -> None:
    """Raise `InputError` where regions are to be as large as those of a method that there is not, or that finds none."""
    refuse = beside(load_named("probe.budget", PROBES, method), "check")
    try:
        if refuse:
            refuse(chosen("probe", method, {"name": method}), languages)
    except InputError as error:
        remedy = "give probe.budget=top:<share>, or more languages"
        raise InputError("probe.budget", f"as:{method}", error.parts[2], remedy) from error


def check_meanings(share: float, sentences: int) -> None:
    """Refuse what is no share of the meanings, and a share that leaves fewer than two to find regions on."""
    check_share("probe.meanings", share, "the meanings")
    if round(share * sentences) < 2:
        problem = f"regions need two meanings at least, and {sentences} sentences per language are drawn"
        remedy = "give a larger share, such as probe.meanings=0.5, or more dataset.sentences"
        raise InputError("probe.meanings", share, problem, remedy)


def check_uncertainty(uncertainty: UncertaintyConfig, probe: ProbeConfig) -> None:
    """Refuse a level that is no probability of an interval, and replicated regions without halves to replicate them in."""
    level = uncertainty.level
    if level is not None and not 0.5 <= level < 1:
        raise InputError(
            "uncertainty.level",
            level,
            "an interval holds the true value with a probability of at least 0.5 and below 1",
            "give uncertainty.level=0.95, or null for no intervals",
        )
    if probe.replicated and not uncertainty.halves:
        raise InputError(
            "probe.replicated",
            "true",
            "whether a neuron is selected again is seen in halves of the sentences, and uncertainty.halves is 0",
            "give uncertainty.halves=20, or probe.replicated=false",
        )


def check_baselines(baselines: list[Baseline]) -> None:
    if len(set(baselines)) != len(baselines):
        names = [baseline.name for baseline in baselines]
        raise InputError("baselines", names, "a baseline is named twice", "name each once, or none: []")


def check_doses(doses: list[float]) -> None:
    if not doses or len(set(doses)) != len(doses):
        raise InputError("intervention.doses", doses, "one or more different doses are needed", "give numbers, such as [0.5,1]")


def check_share(key: str, share: float, whole: str) -> None:
    """Refuse a number that is no share of a whole."""
    if not 0 < share <= 1:
        raise InputError(key, share, f"it is no share of {whole}", "give a number above 0 and at most 1, such as 0.25")


def check_stages(stages: list[Stage]) -> None:
    order = [stage for stage in Stage if stage in stages]
    if stages != order or not stages:
        names = [stage.name for stage in stages]
        raise InputError(
            "stages",
            names,
            "stages are named once each and in order",
            f"the order is {', '.join(stage.name for stage in Stage)}",
        )


def check_tags(tags: list[str]) -> None:
    if not all(tag.strip() for tag in tags):
        raise InputError("tracking.tags", tags, "a tag is empty", "leave it out")


def at_least(key: str, value: float, least: float) -> None:
    """Raise `InputError` for a value below the smallest one."""
    if value < least:
        raise InputError(key, value, f"at least {least} is needed", f"give {key}={least} or more")
