"""The paper's five observations (sec. 4.2 to 4.6) as statements that can be checked, each with the rule that decides it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from lf_experiments.results.paper import rules
from lf_experiments.results.paper.rules import Finding, trend

RUN, TRAINING, SCALE = "run", "training", "scale"
"""What a claim is asked of: the folder of a run, or the rows of a sweep table that make a line over steps or parameters."""


@dataclass(frozen=True)
class Claim:
    """One statement of an observation, and the rule that decides it."""

    statement: str
    """The rule in words."""
    asked_of: str
    rule: Callable[[Any], Finding | None]
    """None where the claim is about languages that are not there."""
    needs: tuple[str, ...] = ()
    """The files of a run that the rule reads."""
    decides: bool = True
    """Whether the observation rests on it: not where the section says it beside what its title says."""

    def ask(self, subject: Any) -> Finding | None:
        """The finding of one run or line."""
        missing = [name for name in self.needs if not (subject / name).exists()]
        return Finding(None, f"no {', '.join(missing)}") if missing else self.rule(subject)


@dataclass(frozen=True)
class Observation:
    """An observation under the title that the paper gives it, and the claims that make it up."""

    number: str
    section: str
    title: str
    claims: tuple[Claim, ...]


over_training = partial(trend, x="training_step", from_turn=True)
over_scale = partial(trend, x="num_parameters")
MAP_FILES = ("similarity.npy", "samples.csv")

OBSERVATIONS = (
    Observation(
        "I",
        "4.2",
        "Neuron activation exhibits similar pattern when processing different inputs in the same language or with the same "
        "semantic meaning.",
        (
            Claim(
                "In every language, sentences of different meanings are more alike to each other than to sentences of other "
                "languages (mean of eq. 7).",
                RUN,
                rules.same_language,
                MAP_FILES,
            ),
            Claim(
                "On average over the pairs of languages, and in most of them, translations are more alike than sentences of "
                "different meanings (mean of eq. 7).",
                RUN,
                rules.same_meaning,
                MAP_FILES,
            ),
            Claim(
                "French, Spanish and Portuguese are more alike to each other than other pairs of languages (mean of eq. 7).",
                RUN,
                rules.related_languages,
                MAP_FILES,
                decides=False,
            ),
            Claim(
                "In the first and in the last layers (a tenth of them at each end, at least one) the mean LRDS is higher and "
                "the mean SADS lower than in the layers between.",
                RUN,
                rules.outer_layers,
                ("layers.csv",),
                decides=False,
            ),
        ),
    ),
    Observation(
        "II",
        "4.3",
        "Similarity of activation patterns allows locating the key linguistic region of a specific language.",
        (
            Claim(
                "Without any key region, the perplexity of its own language rises by more percent than that of every other.",
                RUN,
                rules.own_language_loses_most,
                ("perplexity.csv",),
            ),
            Claim(
                "The median rise of a language without its own region exceeds that without random neurons, as many as the "
                "largest region has.",
                RUN,
                rules.own_more_than_random,
                ("perplexity.csv",),
            ),
            Claim(
                "The median rise of a language without the region of another is below that without these random neurons.",
                RUN,
                rules.others_less_than_random,
                ("perplexity.csv",),
            ),
        ),
    ),
    Observation(
        "III",
        "4.4",
        "As the training process progresses, the linguistic regions become smaller, and the activation patterns become more "
        "language-agnostic.",
        (
            Claim(
                "SKLR falls over training, from its highest point on where that lies in the first half of the checkpoints.",
                TRAINING,
                partial(over_training, column="sklr_fraction", rises=False),
            ),
            Claim(
                "LRDS falls over training, from its highest point on where that lies in the first half of the checkpoints.",
                TRAINING,
                partial(over_training, column="lrds", rises=False),
            ),
            Claim(
                "The first and the last layers (a tenth of them at each end, at least one) have more key neurons on average "
                "than the layers between.",
                RUN,
                rules.outer_key_neurons,
                ("regions.csv",),
                decides=False,
            ),
            Claim(
                "The share of the key neurons that lie in the first layers rises over training.",
                TRAINING,
                rules.first_layers_share,
                decides=False,
            ),
        ),
    ),
    Observation(
        "IV",
        "4.5",
        "As the training process progresses, the semantic alignment phenomenon becomes more significant.",
        (
            Claim(
                "SADS rises over training, from its lowest point on where that lies in the first half of the checkpoints.",
                TRAINING,
                partial(over_training, column="sads", rises=True),
            ),
            Claim(
                "So does the mean accuracy in the cross-lingual story cloze.",
                TRAINING,
                partial(over_training, column="cloze_accuracy_mean", rises=True),
            ),
            Claim(
                "The key regions of Vietnamese, Arabic and Chinese are larger on average than those of the other languages.",
                RUN,
                rules.distant_languages,
                ("regions.csv",),
                decides=False,
            ),
        ),
    ),
    Observation(
        "V",
        "4.6",
        "As the model scale grows, the model aligns languages better to the semantic space.",
        (
            Claim("LRDS falls with the number of parameters.", SCALE, partial(over_scale, column="lrds", rises=False)),
            Claim("SADS rises with the number of parameters.", SCALE, partial(over_scale, column="sads", rises=True)),
            Claim(
                "The mean accuracy in the cross-lingual story cloze rises with the number of parameters.",
                SCALE,
                partial(over_scale, column="cloze_accuracy_mean", rises=True),
            ),
        ),
    ),
)
"""What rises and falls is decided by `rules.trend`."""
