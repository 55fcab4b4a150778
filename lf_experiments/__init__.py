"""How a multilingual language model converges to a lingua franca.

Sentences that say the same in different languages activate the neurons of a model. The similarity of the activations separates
what the model does for a language (LRDS, key linguistic regions) from what it does for a meaning (SADS); switching a region off
shows its use; training steps and model scales show how both evolve.

From Python (docs/library.md):

    import lf_experiments as lf
    model = lf.load("bloom-nano")
    activations = lf.capture(model, lf.sentences("miniature", languages=["en", "fr", "zh"]))
    print(lf.compare(activations))

Reading order, which is the order of the data: `equations`, `corpora`, `models`, `neurons`, `measures`, `evaluations`, `study`,
`runs`, and what is shown: `figures`, `paper`, `report`, `tracking`.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lf_experiments.errors import InputError as InputError
    from lf_experiments.library import capture as capture
    from lf_experiments.library import compare as compare
    from lf_experiments.library import load as load
    from lf_experiments.library import perplexity as perplexity
    from lf_experiments.library import probe as probe
    from lf_experiments.library import sentences as sentences
    from lf_experiments.runs.run import Run as Run
    from lf_experiments.runs.sweep import Sweep as Sweep

os.environ.setdefault("GOMP_SPINCOUNT", "3000")
"""How long a thread spins before it sleeps while it waits for others. By default it spins for long, which makes tiny models
many times slower where another program wants the same core; shorter than this, waking up is what takes the time. PyTorch reads
it once, so it is said here, before anything imports PyTorch."""

HOMES = {
    "InputError": "errors",
    "Run": "runs.run",
    "Sweep": "runs.sweep",
    **dict.fromkeys(("load", "sentences", "capture", "compare", "probe", "perplexity"), "library"),
}
"""{name: its module}. Imported when first used, so that the command starts without PyTorch."""

__all__ = ["InputError", "Run", "Sweep", "capture", "compare", "load", "perplexity", "probe", "sentences"]


def __getattr__(name: str) -> Any:
    """A name of the public face, imported now."""
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
