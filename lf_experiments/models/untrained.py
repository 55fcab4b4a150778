"""The model before its training: the architecture and the tokenizer of a folder, with weights drawn at random."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.utils import logging

from lf_experiments.config.schema import ModelConfig
from lf_experiments.models.devices import placement
from lf_experiments.models.families import join_operations, neuron_sites
from lf_experiments.models.load import Reader, context_of, fetch_tokenizer, load_tokenizer, read_architecture
from lf_experiments.models.number_format import number_format
from lf_experiments.models.special_tokens import text_prefix


def load_untrained(folder: Path, config: ModelConfig, seed: int) -> Reader:
    """The model of a folder as it would begin its training, drawn with the seed, on the devices that the trained one takes.

    transformers draws the weights as the architecture says. Not for a quantized model, whose memory they would exceed.
    """
    architecture = read_architecture(folder, config)
    name = number_format(folder, config)
    dtype = getattr(torch, name) if name != "auto" else torch.float32
    model = drawn_model(architecture, dtype, config, seed)
    tokenizer = load_tokenizer(fetch_tokenizer(folder, config), config.trust_remote_code)
    prefix = text_prefix(tokenizer, config.special_tokens)
    return Reader(model, tokenizer, neuron_sites(model), prefix, config.context or context_of(model))


def drawn_model(architecture: PretrainedConfig, dtype: torch.dtype, config: ModelConfig, seed: int) -> PreTrainedModel:
    """A model of an architecture, loaded from no weights at all: every one is drawn, where it belongs."""
    with torch.device("meta"):
        kind = type(AutoModelForCausalLM.from_config(architecture, trust_remote_code=config.trust_remote_code))
    with torch.random.fork_rng(), without_warnings():
        torch.manual_seed(seed)
        model = kind.from_pretrained(None, config=architecture, state_dict={}, dtype=dtype, **placement(config, None))
    join_operations(model)
    return model.eval()


@contextmanager
def without_warnings() -> Iterator[None]:
    """Inside the block transformers does not warn that weights are missing."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
