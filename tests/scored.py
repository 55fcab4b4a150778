"""For tests of one intervention at a time: what evaluations find of rows that are all read under the same."""

from typing import Any

from lf_experiments.corpora.story import Story
from lf_experiments.evaluations.cloze_task import harness_samples
from lf_experiments.evaluations.generation import continuations
from lf_experiments.evaluations.losses import window_nll
from lf_experiments.evaluations.perplexity import Likelihood
from lf_experiments.evaluations.reading import Reading
from lf_experiments.evaluations.story_cloze import Cloze, judge
from lf_experiments.evaluations.windows import Window
from lf_experiments.models.load import Reader
from lf_experiments.neurons.interventions import Intervention, Treated, nothing


def treated(reader: Reader, items: list[Any], under: Intervention | None = None) -> list[Treated]:
    """Items under an intervention, by default under none."""
    under = under or nothing(reader.widths)
    return [Treated(item, under) for item in items]


def likelihood(
    reader: Reader, windows: list[Window], batch_tokens: int, chunked: bool, under: Intervention | None = None
) -> Likelihood:
    """The likelihood of windows."""
    found = window_nll(reader, treated(reader, windows, under), batch_tokens, chunked)
    return Likelihood(windows, [nll for _, nll in sorted(found)])


def samples_of(reader: Reader, rows: list[Treated], batch_tokens: int = 4096, shared: bool = True) -> list[dict[str, Any]]:
    """What the harness logs of stories, in their order."""
    samples = harness_samples(reader, rows, Reading(batch_tokens, chunked=True, shared=shared))
    return sorted(samples, key=lambda sample: sample["doc_id"])


def ending_likelihoods(reader: Reader, rows: list[Treated], batch_tokens: int = 4096) -> list[list[float]]:
    """The log-likelihoods of both endings of each story, as the harness logs them."""
    samples = samples_of(reader, rows, batch_tokens)
    return [[likelihood for likelihood, _ in sample["filtered_resps"]] for sample in samples]


def cloze(reader: Reader, stories: list[Story], batch_tokens: int = 4096, under: Intervention | None = None) -> Cloze:
    """The outcomes of stories."""
    judged = judge(reader, treated(reader, stories, under), Reading(batch_tokens, chunked=True, shared=True))
    return Cloze([outcome for _, outcome in sorted(judged)])


def continued(reader: Reader, prompts: list[str], new_tokens: int, under: Intervention | None = None) -> list[list[int] | None]:
    """The continuations of prompts."""
    return [ids for _, ids in sorted(continuations(reader, treated(reader, prompts, under), new_tokens))]
