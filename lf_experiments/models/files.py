"""The files of a model folder in Hugging Face layout: which hold its weights, and what its JSON files say.

A GGUF file stands for such a folder: it holds the weights, the configuration and the tokenizer.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

from lf_experiments.errors import InputError

SAFETENSORS = ("model*.safetensors",)
PICKLES = ("pytorch_model*.bin",)
WEIGHT_FILES = (*SAFETENSORS, *PICKLES)
TOKENIZER_FILES = (
    "tokenizer*", "added_tokens.json", "vocab*", "merges.txt", "special_tokens_map.json", "spiece.model", "sentencepiece*.model"
)  # fmt: skip
CONFIGURATION_FILES = ("config.json", "generation_config.json", "*.index.json")
CODE_FILES = ("*.py",)

SAFETENSORS_INDEX = "model.safetensors.index.json"
PICKLES_INDEX = "pytorch_model.bin.index.json"


def is_gguf(folder: Path) -> bool:
    """Whether this is no folder but a GGUF file."""
    return folder.suffix == ".gguf" and folder.is_file()


def place_of(folder: Path) -> dict[str, Any]:
    """The arguments by which transformers finds a folder, or what stands for one."""
    if is_gguf(folder):
        return {"pretrained_model_name_or_path": folder.parent, "gguf_file": folder.name}
    return {"pretrained_model_name_or_path": folder}


def matching_files(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    """The files of a folder that match any of the patterns, sorted by name; a GGUF file is all of its files."""
    if is_gguf(folder):
        return [folder]
    return sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights of a model, sorted: safetensors, or pickles where there are no safetensors.

    Beside those with the usual names they are those that an index names. Raises `InputError` for an index that leads out of the
    folder, or to a file that is not there.
    """
    for patterns, index in ((SAFETENSORS, SAFETENSORS_INDEX), (PICKLES, PICKLES_INDEX)):
        usual = matching_files(folder, patterns)
        files = {*usual, *(folder / name for name in weight_map(folder, index).values())}
        if files:
            refuse_missing_parts(folder, files)
            return sorted(files)
    return []


def weight_map(folder: Path, index: str) -> dict[str, str]:
    """{weight: the file it is in} as an index says; empty where there is no index."""
    if not (folder / index).is_file():
        return {}
    names = json_object(folder / index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise damaged(folder / index, "it has no weight_map that names a file for each weight")
    for name in names.values():
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            problem = f"{index} takes weights from {name}, which is outside of the folder"
            raise InputError("model.path", folder, problem, "use the index that was published with these weights")
    return names


def refuse_missing_parts(folder: Path, files: set[Path]) -> None:
    missing = sorted(path.name for path in files if not path.is_file())
    if missing:
        problem = f"the index of its weights names {', '.join(missing[:3])}, which it does not have"
        raise InputError("model.path", folder, problem, "download the files that are missing")


def config_values(folder: Path) -> dict[str, Any]:
    """What config.json says; a GGUF file has none. Raises `InputError` where it cannot be read."""
    return {} if is_gguf(folder) else json_object(folder / "config.json")


def end_ids(folder: Path) -> list[int]:
    """The tokens that end a text by what generation_config.json says, sorted; none where it does not say, or is not there.

    Raises `InputError` where the file cannot be read.
    """
    path = folder / "generation_config.json"
    value = json_object(path).get("eos_token_id") if path.is_file() else None
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if not all(type(token) is int for token in ids):
        raise damaged(path, f"its eos_token_id is {value!r}, which names no tokens")
    return sorted(set(ids))


def json_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a model folder. Raises `InputError` where the file holds anything else."""
    problem = json_problem(path)
    if problem:
        raise damaged(path, problem)
    return json.loads(path.read_text(encoding="utf-8"))


def json_problem(path: Path) -> str | None:
    """Why a file is no JSON object, or None where it is one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        return "it is not text"
    except json.JSONDecodeError as error:
        return "it is empty" if path.stat().st_size == 0 else f"it is not JSON at line {error.lineno}"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    return None if isinstance(value, dict) else "it is not a JSON object"


def damaged(path: Path, problem: str) -> InputError:
    """The error of a file of a model folder that cannot be used."""
    return InputError("model.path", path, f"this file is damaged: {problem}", "download it again")
