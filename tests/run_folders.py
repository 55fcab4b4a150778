"""A run folder with made-up but plausible numbers, for tests of what is shown."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from lf_experiments.runs.tables import read_json
from lf_experiments.storage import write_json

LANGUAGES = ["en", "zh", "fr", "es", "pt", "ar", "vi", "hi", "id"]
BEFORE = {"en": 13.94, "zh": 24.01, "fr": 9.62, "es": 10.84, "pt": 11.17, "ar": 14.45, "vi": 10.11, "hi": 11.14, "id": 20.55}
OUTLIER = 1498.0
WORDS = {"en": "light", "zh": "起初光", "fr": "lumière", "ar": "النور كان", "hi": "उजियाला हो", "vi": "ánh sáng"}
"""A word of some languages, in their scripts."""
STAGES = {
    "capture": (12.25, 2 * 2**30),
    "compare": (0.5, 2**30),
    "probe": (0.75, 2**30),
    "describe": (0.25, 2**30),
    "deactivate": (98.0, 3 * 2**30),
    "cloze": (60.0, 3 * 2**30),
    "generate": (30.0, 3 * 2**30),
}
"""Seconds and bytes of every stage."""
FAMILIES = ("bloom-nano", "llama-nano", "bloom", "llama2", "qwen")
FILES = {"cloze": "cloze.csv", "generate": "generations.csv"}


def write_run_folder(folder: Path, languages: list[str], layers: int = 3, sentences: int = 4, width: int = 512) -> Path:
    """Write every file of a finished run into `folder`; the last language rises by 1498 % without its key neurons."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    samples = sample_table(languages, sentences)
    regions = region_table(languages, layers, width, random)
    perplexity = perplexity_table(languages, random)
    cloze = cloze_table(languages, random)
    samples.to_csv(folder / "samples.csv", index=False)
    layer_table(layers).to_csv(folder / "layers.csv", index=False)
    regions.to_csv(folder / "regions.csv", index=False)
    perplexity.to_csv(folder / "perplexity.csv", index=False)
    cloze.to_csv(folder / "cloze.csv", index=False)
    generation_table(languages).to_csv(folder / "generations.csv", index=False)
    dose_table().to_csv(folder / "doses.csv", index=False)
    pair_scores(languages, layers).to_csv(folder / "pairs.csv", index=False)
    np.save(folder / "similarity.npy", similarity_map(languages, sentences, random))
    halves = [similarity_map(languages, sentences // 2, np.random.default_rng(1 + layer)) for layer in range(layers)]
    np.save(folder / "layer_maps.npy", np.array(halves, np.float16))
    neuron_table(languages, layers, width, sentences).to_parquet(folder / "neurons.parquet", index=False)
    sklr = int(regions["key_neurons"].sum())
    whole = cloze[cloze["deactivated"] == "none"].set_index("language")["accuracy"].to_dict()
    write_json(folder / "metrics.json", metrics(languages, layers, sentences, layers * width, sklr, whole))
    write_json(folder / "run.json", record(languages))
    return folder


def sample_table(languages: list[str], sentences: int) -> pd.DataFrame:
    rows = [
        (language, f"m{number}", 5 + number, f"Sentence {number} of <script>{language}</script> & more")
        for language in languages
        for number in range(sentences)
    ]
    return pd.DataFrame(rows, columns=["language", "meaning", "tokens", "text"]).rename_axis("index").reset_index()


def similarity_map(languages: list[str], sentences: int, random: np.random.Generator) -> np.ndarray:
    """Cosines of vectors made of a common, a language, a meaning and a noise part; some are negative."""
    language = np.repeat(random.normal(size=(len(languages), 64)), sentences, axis=0)
    meaning = np.tile(random.normal(size=(sentences, 64)), (len(languages), 1))
    noise = random.normal(size=language.shape)
    vectors = 0.3 * random.normal(size=64) + 0.8 * language + 0.5 * meaning + 0.5 * noise
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors @ vectors.T).astype(np.float32)


def layer_table(layers: int) -> pd.DataFrame:
    depth = np.linspace(-1, 1, layers)
    return pd.DataFrame({"layer": range(layers), "lrds": 0.15 + 0.3 * depth**2, "sads": 0.05 - 0.04 * depth**2})


def pair_scores(languages: list[str], layers: int) -> pd.DataFrame:
    """Every pair once, for the whole model (-1) and each layer; no two pairs of a layer have the same numbers."""
    rows = [
        (one, other, layer, 0.1 * (layer + 2) + 0.01 * number, 0.001 * number - 0.002 + 0.01 * (layer + 1), number % 2 == 0)
        for layer in range(-1, layers)
        for number, (one, other) in enumerate(combinations(languages, 2))
    ]
    return pd.DataFrame(rows, columns=["language", "other", "layer", "lrds", "sads", "same_script"])


def region_table(languages: list[str], layers: int, width: int, random: np.random.Generator) -> pd.DataFrame:
    rows = [
        (language, layer, int(random.integers(0, width // 12) * (1 + number % 3) / (1 + min(layer, layers - 1 - layer))), width)
        for number, language in enumerate(languages)
        for layer in range(layers)
    ]
    return pd.DataFrame(rows, columns=["language", "layer", "key_neurons", "neurons"])


def neuron_table(languages: list[str], layers: int, width: int, sentences: int, most: int = 3) -> pd.DataFrame:
    """Three key neurons of each language, the last of which is active below 0 too and writes nothing that can be read."""
    rows = [
        {
            "language": language,
            "layer": number % layers,
            "neuron": (7 * place + number) % width,
            "score": 1.5,
            "z": 2.8 - 0.1 * number,
            "frequency": 1 - 0.05 * number,
            "mean": [float(place == other) + 0.01 * other - 0.1 * number for other in range(len(languages))],
            "sentences": [place * sentences + shown for shown in range(2)],
            "activations": [1.5, 1.25 - 0.01 * place],
            "words": [f" {WORDS.get(language, 'word')}", "<b>&</b>"] if number < most - 1 else [],
        }
        for place, language in enumerate(languages)
        for number in range(most)
    ]
    return pd.DataFrame(rows)


def perplexity_table(languages: list[str], random: np.random.Generator) -> pd.DataFrame:
    """Nothing, each language and two random draws deactivated; one increase is an outlier and one is negative."""
    rows = []
    for deactivated, draw in [("none", 0), *((language, 0) for language in languages), ("random", 0), ("random", 1)]:
        for language in languages:
            before = BEFORE[language]
            increase = increase_percent(deactivated, language, languages, random)
            after = before * (1 + increase / 100)
            tokens, size = 2000, 9000
            nll = tokens * np.log(after)
            rows.append((deactivated, draw, language, after, increase, nll, tokens, size, nll / np.log(2) / size))
    columns = ["deactivated", "draw", "language", "perplexity", "increase_percent", "nll", "tokens", "bytes", "bits_per_byte"]
    return pd.DataFrame(rows, columns=columns)


def increase_percent(deactivated: str, language: str, languages: list[str], random: np.random.Generator) -> float:
    if deactivated == "none":
        return 0.0
    if deactivated == language:
        return OUTLIER if language == languages[-1] else round(float(random.uniform(20, 310)), 3)
    if (deactivated, language) == (languages[0], languages[1]):
        return -0.4
    return round(float(random.uniform(0.5, 20)), 3)


def dose_table() -> pd.DataFrame:
    """What regions cost at three doses, with bands."""
    dose = np.array([0.0, 0.5, 1.0])
    values = {"own": 0.4 * dose**2, "spill": 0.1 * dose, "control": 0.05 * dose}
    ends = {name + end: value + way * 0.02 * dose for name, value in values.items() for end, way in (("_lo", -1), ("_hi", 1))}
    return pd.DataFrame({"dose": dose, **values, **ends})


def cloze_table(languages: list[str], random: np.random.Generator) -> pd.DataFrame:
    """Nothing, each language and two random draws deactivated; 40 stories in each language."""
    rows = []
    for deactivated, draw in [("none", 0), *((language, 0) for language in languages), ("random", 0), ("random", 1)]:
        for language in languages:
            right = int(random.integers(26, 34)) - 6 * (deactivated == language)
            rows.append((deactivated, draw, language, right / 40, np.sqrt(right / 40 * (1 - right / 40) / 39), 40))
    return pd.DataFrame(rows, columns=["deactivated", "draw", "language", "accuracy", "stderr", "items"])


def generation_table(languages: list[str], samples: int = 2) -> pd.DataFrame:
    """Two sentences of each language go on; without its own region one breaks off in half a letter, or is mute."""
    rows = []
    for deactivated in ["none", *languages]:
        for language in languages:
            for number in range(samples):
                text, script, repetition = generated(language, number, is_own=deactivated == language)
                rows.append(
                    (deactivated, language, f"{WORDS.get(language, 'Word')} {number} <script>?", text, script, repetition)
                )
    return pd.DataFrame(rows, columns=["deactivated", "language", "prompt", "text", "script_share", "repetition"])


def generated(language: str, number: int, is_own: bool) -> tuple[str, float | None, float]:
    """A text, the share of its letters that are of its script, and the share of it that repeats."""
    if is_own and number == 1:
        return "", None, 0.0
    if is_own:
        return "ab �� | ab <script>alert(1)</script>\nab ab", 0.25, 0.5
    return f"{WORDS.get(language, 'word')}, {WORDS.get(language, 'word')} & {number}.", 1.0, 0.125


def metrics(languages: list[str], layers: int, sentences: int, neurons: int, sklr: int, cloze: dict[str, float]) -> dict:
    return {
        "model": "bloom-nano",
        "family": "bloom-nano",
        "checkpoint": "step3000",
        "training_step": 3000,
        "num_parameters": 1234567,
        "num_layers": layers,
        "num_neurons": neurons,
        "languages": languages,
        "sentences_per_language": sentences,
        "lrds": 0.2113,
        "sads": 0.0345,
        "sklr": sklr,
        "sklr_fraction": sklr / neurons,
        "perplexity": {language: BEFORE[language] for language in languages},
        "cloze_accuracy": cloze,
    }


def record(languages: list[str]) -> dict:
    return {
        "schema_version": 1,
        "status": "done",
        "error": None,
        "command": "python -m lf_experiments model=bloom-nano checkpoint=step3000",
        "started": "2026-01-02T03:04:05+00:00",
        "overrides": ["model=bloom-nano", "checkpoint=step3000"],
        "config": {
            "seed": 7,
            "model": {"name": "bloom-nano", "family": "bloom-nano", "path": None},
            "checkpoint": {"step": 3000},
            "language_set": {"languages": languages},
            "intervention": {"name": "zero"},
        },
        "versions": {"python": "3.11.2", "torch": "2.13.0"},
        "git_commit": "0123456789abcdef0123456789abcdef01234567",
        "model": {
            "folder": "/models/bloom-nano",
            "weight_fingerprint": "aaaa1111bbbb2222",
            "tokenizer_fingerprint": "cccc3333dddd4444",
            "hub_commit": None,
            "training_tokens": 6144000,
        },
        "data": {
            "dataset": {"name": "miniature", "fingerprint": "eeee5555ffff6666", "licence": "MIT"},
            "text": {"name": "miniature", "fingerprint": "1111aaaa2222bbbb", "licence": "CC BY 4.0"},
            "cloze": {"name": "miniature", "fingerprint": "3333cccc4444dddd", "licence": "MIT"},
        },
        "stages": {
            name: {"inputs": "00ff", "scalars": {}, "seconds": seconds, "peak_memory_bytes": memory}
            for name, (seconds, memory) in STAGES.items()
        },
        "warnings": ["the text of hi is <short>"],
    }


def write_job(
    folder: Path,
    step: int | None,
    model: str = "bloom-nano",
    parameters: int = 464_128,
    layers: int = 3,
    fingerprint: str | None = None,
    overrides: tuple[str, ...] = (),
    languages: list[str] = LANGUAGES,
    cloze: bool = False,
    generate: bool = False,
    **config: object,
) -> Path:
    """A finished job of a sweep, with numbers that follow its step and size as the paper's do; `step` None is the final one.

    `cloze` and `generate` say whether it ran these stages; `config` changes entries of its configuration.
    """
    write_run_folder(folder, languages, layers, width=256)
    moment = 1500 if step is None else step
    progress = np.log1p(moment) / np.log1p(1500) * np.log10(parameters) / 6
    random = np.random.default_rng(moment + parameters)
    regions = region_table(languages, layers, 256, random)
    regions["key_neurons"] = (regions["key_neurons"] * (2.2 - progress)).astype(int)
    regions.to_csv(folder / "regions.csv", index=False)
    sklr = int(regions["key_neurons"].sum())
    checkpoint = "final" if step is None else f"step{step}"
    accuracies = {language: 0.5 + 0.2 * progress for language in languages} if cloze else {}
    tell_stories(folder, accuracies)
    without = [stage for stage, ran in (("cloze", cloze), ("generate", generate)) if not ran]
    for stage in without:
        (folder / FILES[stage]).unlink()
    edit(
        folder / "metrics.json",
        model=model,
        family=family_of(model),
        checkpoint=checkpoint,
        training_step=step,
        num_parameters=parameters,
        lrds=0.62 - 0.35 * progress + float(random.normal(0, 0.01)),
        sads=0.01 + 0.05 * progress + float(random.normal(0, 0.002)),
        sklr=sklr,
        sklr_fraction=sklr / (layers * 256),
        perplexity={language: 2 + (BEFORE[language] - 2) * float(np.exp(-progress)) for language in languages},
        cloze_accuracy=accuracies,
    )
    record = read_json(folder / "run.json")
    edit(
        folder / "run.json",
        command=f"python -m lf_experiments model={model} checkpoint={checkpoint}",
        overrides=[f"model={model}", f"checkpoint={checkpoint}", *overrides],
        config={
            **record["config"],
            "model": {"name": model, "family": family_of(model), "path": None},
            "checkpoint": {"step": step},
            **config,
        },
        model={
            **record["model"],
            "folder": f"/models/{model}/{checkpoint}",
            "weight_fingerprint": fingerprint or f"{model}-{checkpoint}",
            "training_tokens": None if step is None else 2048 * step,
        },
        stages={stage: done for stage, done in record["stages"].items() if stage not in without},
    )
    return folder


def family_of(model: str) -> str:
    """What `model.family` says of the models of these tests."""
    return next((family for family in FAMILIES if model.startswith(family)), model)


def tell_stories(folder: Path, accuracies: dict[str, float]) -> None:
    """Give the whole model these accuracies in `cloze.csv`."""
    table = pd.read_csv(folder / "cloze.csv")
    whole = table["deactivated"] == "none"
    accuracy = table["language"].map(accuracies).where(whole, table["accuracy"])
    table.assign(accuracy=accuracy, stderr=np.sqrt(accuracy * (1 - accuracy) / 39)).to_csv(folder / "cloze.csv", index=False)


def fail(folder: Path, error: str) -> None:
    """Make a job one that failed before it had read anything."""
    for path in folder.iterdir():
        if path.name != "run.json":
            path.unlink()
    edit(folder / "run.json", status="failed", error=error, model={}, data={}, stages={})


def edit(path: Path, **entries: object) -> None:
    """Change entries of a JSON file."""
    write_json(path, {**read_json(path), **entries})
