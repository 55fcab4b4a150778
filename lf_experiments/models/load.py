"""Loading a model and its tokenizer from a folder in Hugging Face layout, or from a GGUF file that stands for one."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from lf_experiments.config.schema import ModelConfig
from lf_experiments.errors import InputError
from lf_experiments.models.checkpoints import fetch_hub_tokenizer
from lf_experiments.models.devices import placement, refuse_missing_devices
from lf_experiments.models.families import MIXTURES, POSITION_TABLES, join_operations, neuron_sites, refuse_hidden_neurons
from lf_experiments.models.files import (
    TOKENIZER_FILES,
    WEIGHT_FILES,
    config_values,
    is_gguf,
    matching_files,
    place_of,
    weight_files,
)
from lf_experiments.models.foreign import explained_errors
from lf_experiments.models.number_format import number_format, say_other_format
from lf_experiments.models.quantized import named_packages, quantization, stored_quantization, unpacked_experts
from lf_experiments.models.sharded_sites import sharded_sites
from lf_experiments.models.shards import ShardPlace, Shards, join, on_own_gpu, parting
from lf_experiments.models.special_tokens import prefix_text, text_prefix
from lf_experiments.models.tensor_plans import sharding
from lf_experiments.models.verification import refuse_foreign_tokenizer, refuse_missing_weights, refuse_unused_weights
from lf_experiments.neurons.interventions import Intervention, intervened
from lf_experiments.neurons.sites import Experts, Site, pooled_width

os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
"""Nobody is asked to convert the weights of a repository that has only pickles: they are read as they are."""


Answer = TypeVar("Answer")
Results = Generator[tuple[int, Any], None, None]
"""(position of an item, what was found for it), in any order."""


@dataclass(frozen=True)
class Reader:
    """A model ready to read: its weights in evaluation mode, its tokenizer and its neuron sites, one per layer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    sites: list[Site]
    prefix: list[int]
    """The token ids that begin every text (`special_tokens.py`): read, but not averaged, predicted or counted. May be empty."""
    context: int | None
    """Tokens the model was trained to read at once, where anything says so."""
    shards: Shards | None = None
    """The processes that share the layers of the model, which read together; None where this one has all of it."""

    def token_ids(self, texts: list[str]) -> list[list[int]]:
        """The token ids of each text: those that are averaged, predicted and counted."""
        if not texts:
            return []
        return self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]

    def sequences(self, texts: list[str]) -> list[list[int]]:
        """The token ids that the model is given for each text: `prefix`, then those of the text; without padding."""
        return [self.prefix + ids for ids in self.token_ids(texts)]

    @property
    def given(self) -> int:
        """How many tokens of a sequence are given and not predicted: the prefix, or the first token where there is none."""
        return max(1, len(self.prefix))

    @property
    def copies(self) -> int:
        """How many copies of the model read, each a share of what is shared."""
        return 1

    def share(self, read: Callable[..., Results], items: list[Any], *arguments: Any) -> Results:
        """Yields the results of `read(reader, items, *arguments)`. A team (`team.py`) reads the items together."""
        results = read(self, items, *arguments)
        yield from self.shards.in_step(results) if self.shards else results

    def ask(self, question: Callable[..., Answer], *arguments: Any) -> Answer:
        """What `question(reader, *arguments)` says, a function of a module that computes with the model.

        All processes that share its layers compute along.
        """
        return dict(self.share(answers, [arguments], question))[0]

    def intervened(self, *by_row: Intervention) -> AbstractContextManager[None]:
        """Inside the block interventions act on every forward pass of `model`, by whatever library it is run.

        One acts on all sequences of a batch, several each on its own (`interventions.intervened`).
        """
        return intervened(self.sites, *by_row)

    @property
    def reads_beyond_context(self) -> bool:
        """Whether more tokens than `context` can be read at all, well or not."""
        return self.model.config.get_text_config().model_type not in POSITION_TABLES

    @property
    def widths(self) -> list[int]:
        """Neurons of each layer, N."""
        return [site.width for site in self.sites]

    @property
    def experts(self) -> list[Experts]:
        """The routed experts of each layer of a mixture; empty for a model without."""
        of_layers = [site.banks[0].experts for site in self.sites]
        return of_layers if any(experts.number for experts in of_layers) else []

    def pooled_widths(self, pool: str) -> list[int]:
        """How many numbers a pool keeps of each layer: one per neuron, of `ROUTING` one per expert."""
        return [sum(pooled_width(bank, pool) for bank in site.banks) for site in self.sites]

    @property
    def num_neurons(self) -> int:
        """Neurons of all layers, K."""
        return sum(self.widths)

    @property
    def num_parameters(self) -> int:
        """Parameters of the model, tied ones counted once."""
        return self.model.num_parameters()


def answers(reader: Reader, asked: list[tuple[Any, ...]], question: Callable[..., Any]) -> Results:
    """Yields the position of each of what is asked, the arguments of the question, and the answer."""
    yield from enumerate(question(reader, *arguments) for arguments in asked)


def load_reader(folder: Path, config: ModelConfig, gpus: list[int] | None = None, place: ShardPlace | None = None) -> Reader:
    """Load what `folder` holds, as `config` says, onto the GPUs given; by default onto all of this machine.

    With a `place` among several processes each loads its part of every layer, onto the first of its GPUs. No code from the
    folder is run unless `config.trust_remote_code`. Raises `InputError` for a folder without weights or tokenizer, with files
    that cannot be read, or with an architecture whose neurons cannot be found, and `Parted` where other processes wait.
    """
    architecture = read_architecture(folder, config)
    tokenizer = load_tokenizer(fetch_tokenizer(folder, config), config.trust_remote_code)
    shards = join(place, gpus or []) if place else None
    with parting(shards):
        model = load_model(folder, config, gpus, architecture, shards)
        sites = sharded_sites(model, neuron_sites(model), shards) if shards else neuron_sites(model)
        refuse_foreign_tokenizer(tokenizer, model, config)
    context = config.context or context_of(model)
    return Reader(model, tokenizer, sites, text_prefix(tokenizer, config.special_tokens), context, shards)


def fetch_tokenizer(folder: Path, config: ModelConfig) -> Path:
    """The folder of the tokenizer: the model's own unless the configuration names another.

    A model of the hub has one tokenizer for all its training steps; it is downloaded where it is not yet.
    """
    if config.tokenizer:
        return Path(config.tokenizer).expanduser()
    return fetch_hub_tokenizer(config) if config.hub else folder


def read_architecture(folder: Path, config: ModelConfig) -> PretrainedConfig:
    """What config.json says, as transformers understands it. Raises `InputError` for a model that could not be studied."""
    config_values(folder)
    with explained_errors("model.path", folder):
        architecture = read_pretrained(AutoConfig, folder, config.trust_remote_code)
    refuse_hidden_neurons(architecture.get_text_config())
    if architecture.get_text_config().num_hidden_layers < 1:
        problem = f"config.json gives it {architecture.get_text_config().num_hidden_layers} layers"
        raise InputError("model.path", folder, problem, "use the config.json that was published with the weights")
    if architecture.model_type == "bloom":
        architecture.slow_but_exact = False  # it would slice the second MLP matrix and pass by the module that has it
    return architecture


def has_experts(folder: Path, config: ModelConfig) -> bool:
    """Whether the model in a folder is a mixture of experts."""
    return read_architecture(folder, config).get_text_config().model_type in MIXTURES


def load_model(
    folder: Path,
    config: ModelConfig,
    gpus: list[int] | None = None,
    architecture: PretrainedConfig | None = None,
    shards: Shards | None = None,
) -> PreTrainedModel:
    """Load the weights in `folder`; `architecture` is what `read_architecture` returns, where that was read before.

    Of `shards` this process loads its part.
    """
    if not weight_files(folder):
        raise InputError("model.path", folder, "it has no weights", f"put one of {', '.join(WEIGHT_FILES)} into it")
    refuse_missing_devices(config.device_map)
    architecture = architecture or read_architecture(folder, config)
    model, loading = read_weights(folder, config, gpus, architecture, shards)
    refuse_missing_weights(loading["missing_keys"], folder)
    refuse_unused_weights(loading["unexpected_keys"], model, folder)
    join_operations(model)
    return model.eval()


def read_weights(
    folder: Path, config: ModelConfig, gpus: list[int] | None, architecture: PretrainedConfig, shards: Shards | None = None
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Read the weights in `folder` onto their devices; returns the model, and which weights found no place or were missing.

    Raises `InputError` for weights that cannot be read.
    """
    method, dtype = stored_quantization(folder), number_format(folder, config, gpus)
    say_other_format(folder, config, dtype)
    is_mixture = architecture.get_text_config().model_type in MIXTURES
    where = sharding(architecture, shards.count) if shards else placement(config, gpus)
    arguments = {"dtype": dtype, **where, **quantization(config), **unpacked_experts(method, is_mixture)}
    with explained_errors("model.path", folder), named_packages(method, folder), on_own_gpu(gpus if shards else None):
        model, loading = AutoModelForCausalLM.from_pretrained(
            **place_of(folder),
            config=architecture,
            output_loading_info=True,
            weights_only=True,
            trust_remote_code=config.trust_remote_code,
            local_files_only=True,
            **arguments,
        )
        if method:
            read_one_token(model)
    return model, loading


def read_one_token(model: PreTrainedModel) -> None:
    """Read one token with the whole model: some packages restore quantized weights in the first pass, and only in that."""
    with torch.no_grad():
        model.eval()(input_ids=torch.zeros(1, 1, dtype=torch.long, device=input_device(model)))


def load_tokenizer(folder: Path, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    """Load the tokenizer in a folder. Raises `InputError` where there is none, or none that can be read."""
    if not matching_files(folder, TOKENIZER_FILES):
        raise InputError("model.tokenizer", folder, "it has no tokenizer", "give model.tokenizer=FOLDER with the files of one")
    with explained_errors("model.tokenizer", folder):
        return read_pretrained(AutoTokenizer, folder, trust_remote_code)


def read_pretrained(kind: Any, folder: Path, trust_remote_code: bool) -> Any:
    """The configuration or the tokenizer in a folder, by its class in transformers; of a GGUF file as read before."""
    if is_gguf(folder):
        return deepcopy(read_gguf(kind, folder, folder.stat().st_mtime_ns))
    return kind.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True)


@lru_cache(maxsize=2)
def read_gguf(kind: Any, file: Path, changed_ns: int) -> Any:  # noqa: ARG001
    """What a GGUF file says of a kind, kept in memory: to read one with 262,144 tokens takes minutes."""
    return kind.from_pretrained(**place_of(file))


def text_beginning(folder: Path, config: ModelConfig) -> str:
    """The special tokens that begin every text, as the tokenizer writes them; empty where there are none."""
    read_architecture(folder, config)  # what is wrong with the model is said before what is wrong with its tokenizer
    return prefix_text(load_tokenizer(fetch_tokenizer(folder, config), config.trust_remote_code), config.special_tokens)


def input_device(model: PreTrainedModel) -> torch.device:
    """Where token ids go: to the embeddings, or where those are computed with when they are offloaded."""
    return device_of(model.get_input_embeddings()) or model.device


def device_of(module: Any) -> torch.device | None:
    """Where a module that may be offloaded computes; None for one that is always where its weights are."""
    device = getattr(getattr(module, "_hf_hook", None), "execution_device", None)
    return None if device is None else torch.device(device)


def context_of(model: PreTrainedModel) -> int | None:
    """Tokens the model reads at once, from its configuration; None where that does not say."""
    config = model.config.get_text_config()
    for name in ("max_position_embeddings", "seq_length", "n_positions", "max_seq_len"):
        if getattr(config, name, None):
            return getattr(config, name)
    return None
