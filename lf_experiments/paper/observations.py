"""The paper's five observations (sec. 4.2 to 4.6) as statements that can be checked, each with the rule that decides it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pandas as pd

from lf_experiments.paper import rules, trends
from lf_experiments.paper.finding import Answer, Finding
from lf_experiments.runs.run import Run
from lf_experiments.runs.scores import CLOZE, LRDS, SADS, Score

RUN, TRAINING, SCALE = "run", "training", "scale"
"""What a claim is asked of: a run, or the rows of a sweep table that make a line over steps or parameters."""


@dataclass(frozen=True)
class Claim:
    """One statement of an observation, and the rule that decides it."""

    statement: str
    """The rule in words."""
    asked_of: str
    rule: Callable[[Run], Finding | None] | Callable[[pd.DataFrame], Finding | None]
    """None where the claim is about languages that are not there."""
    needs: tuple[str, ...] = ()
    """The files of a run that the rule reads."""
    in_short: str = field(kw_only=True)
    """The same for a reader who knows neither the paper nor its field."""
    shown_in: tuple[str, ...] = field(kw_only=True)
    """The figures that show it, by their stems, the best one first."""
    decides: bool = True
    """Whether the observation rests on it: not where the section says it beside what its title says."""

    def ask(self, subject: Run | pd.DataFrame) -> Finding | None:
        """The finding of one run or line."""
        missing = [name for name in self.needs if not subject.has(name)]
        return Finding(Answer.MISSING, f"no {', '.join(missing)}") if missing else self.rule(subject)


@dataclass(frozen=True)
class Observation:
    """An observation under the title that the paper gives it, and the claims that make it up."""

    number: str
    section: str
    title: str
    claims: tuple[Claim, ...]


OVER_TRAINING, OVER_SCALE = "figure4_training_dynamics", "figure7_model_scale"
OVER_SCALE_LLAMA2 = "figure10_model_scale_llama2"
MAP, DEACTIVATION = "figure2_similarity_map", "table1_deactivation"
BY_LAYER, BY_LANGUAGE = "figure5_key_neurons_by_layer", "figure6_key_neurons_by_language"
"""Stems of figures; those over training end in `_and_step`."""


def over_training(what: str, score: Score, rises: bool, in_short: str) -> Claim:
    """The claim that a score rises, or falls, while a model learns."""
    way, turn = ("rises", "lowest") if rises else ("falls", "highest")
    statement = f"{what} {way} over training, from its {turn} point on where that lies in the first half of the checkpoints."
    rule = partial(trends.over_training, score=score, rises=rises)
    return Claim(statement, TRAINING, rule, in_short=in_short, shown_in=(OVER_TRAINING,))


def over_scale(what: str, score: Score, rises: bool, in_short: str) -> Claim:
    """The claim that a score rises, or falls, from the smallest model of a family to the largest."""
    statement = f"{what} {'rises' if rises else 'falls'} with the number of parameters."
    rule = partial(trends.over_scale, score=score, rises=rises)
    return Claim(statement, SCALE, rule, in_short=in_short, shown_in=(OVER_SCALE, OVER_SCALE_LLAMA2))


TELLING = "The mean accuracy in the cross-lingual story cloze"
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
                in_short="Sentences of one language set the same neurons to work, whatever they say.",
                shown_in=(MAP,),
            ),
            Claim(
                "On average over the pairs of languages, and in most of them, translations are more alike than sentences of "
                "different meanings (mean of eq. 7).",
                RUN,
                rules.same_meaning,
                MAP_FILES,
                in_short="Sentences that say the same set the same neurons to work, whatever their language.",
                shown_in=(MAP,),
            ),
            Claim(
                "French, Spanish and Portuguese are more alike to each other than other pairs of languages (mean of eq. 7).",
                RUN,
                rules.related_languages,
                MAP_FILES,
                in_short="French, Spanish and Portuguese, which are related, are more alike to the model than other languages.",
                shown_in=("language_tree", "language_pairs", MAP),
                decides=False,
            ),
            Claim(
                "In the first and in the last layers (a tenth of them at each end, at least one) the mean LRDS is higher and "
                "the mean SADS lower than in the layers between.",
                RUN,
                rules.outer_layers,
                ("layers.csv",),
                in_short="The first and the last layers tell languages apart, and the layers between hold the meaning.",
                shown_in=("figure3_layer_scores",),
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
                "Without any key region, its own language loses more, in the logarithm of perplexity, than the other language "
                "that loses most.",
                RUN,
                rules.own_language_loses_most,
                ("perplexity.csv",),
                in_short="Without the neurons of one language, that language suffers most.",
                shown_in=(DEACTIVATION,),
            ),
            Claim(
                "On average a language loses more without its own region than without random neurons that are as many and act "
                "as strongly (the paper's: as many as the largest region has).",
                RUN,
                rules.own_more_than_random,
                ("perplexity.csv",),
                in_short="A language suffers more without its own neurons than without random ones that act as strongly.",
                shown_in=(DEACTIVATION,),
            ),
            Claim(
                "On average a language loses less without the region of another (of all others that in the middle) than "
                "without these random neurons.",
                RUN,
                rules.others_less_than_random,
                ("perplexity.csv",),
                in_short="Without the neurons of one language, the others lose less than without random neurons.",
                shown_in=(DEACTIVATION,),
            ),
            Claim(
                "Every language loses more without its own region than without random neurons.",
                RUN,
                rules.every_region_more_than_random,
                ("perplexity.csv",),
                in_short="Every single language loses more without its own neurons than without random ones.",
                shown_in=(DEACTIVATION,),
                decides=False,
            ),
            Claim(
                "Without any key region, its own language loses more than the others on average.",
                RUN,
                rules.own_more_than_others,
                ("perplexity.csv",),
                in_short="Without the neurons of one language, that language suffers more than the others on average.",
                shown_in=(DEACTIVATION,),
                decides=False,
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
                "SKLR falls over training, from its highest point on where that lies in the first half of the checkpoints: "
                "beyond what shuffled languages give, and by the neurons that halves of the sentences find again.",
                TRAINING,
                trends.regions_over_training,
                in_short="With training, fewer neurons belong to one language alone.",
                shown_in=(f"{BY_LAYER}_and_step", OVER_TRAINING),
            ),
            over_training("LRDS", LRDS, rises=False, in_short="With training, the model tells languages apart less."),
            Claim(
                "The first and the last layers (a tenth of them at each end, at least one) have more key neurons on average "
                "than the layers between.",
                RUN,
                rules.outer_key_neurons,
                ("regions.csv",),
                in_short="The first and the last layers have more neurons of single languages than the layers between.",
                shown_in=(BY_LAYER, f"{BY_LAYER}_and_step"),
                decides=False,
            ),
            Claim(
                "The share of the key neurons that lie in the first layers rises over training.",
                TRAINING,
                trends.first_layers_share,
                in_short="With training, the neurons of single languages gather in the first layers.",
                shown_in=(f"{BY_LAYER}_and_step",),
                decides=False,
            ),
        ),
    ),
    Observation(
        "IV",
        "4.5",
        "As the training process progresses, the semantic alignment phenomenon becomes more significant.",
        (
            over_training(
                "SADS", SADS, rises=True, in_short="With training, the same meaning comes to look alike in all languages."
            ),
            over_training(
                TELLING,
                CLOZE,
                rises=True,
                in_short="With training, the model gets better at ending stories that begin in another language.",
            ),
            Claim(
                "The key regions of Vietnamese, Arabic and Chinese are larger on average than those of the other languages.",
                RUN,
                rules.distant_languages,
                ("regions.csv",),
                in_short="Vietnamese, Arabic and Chinese have more neurons of their own than the other languages.",
                shown_in=(BY_LANGUAGE, f"{BY_LANGUAGE}_and_step"),
                decides=False,
            ),
        ),
    ),
    Observation(
        "V",
        "4.6",
        "As the model scale grows, the model aligns languages better to the semantic space.",
        (
            over_scale("LRDS", LRDS, rises=False, in_short="Larger models tell languages apart less."),
            over_scale(
                "SADS", SADS, rises=True, in_short="In larger models the same meaning looks more alike in all languages."
            ),
            over_scale(
                TELLING,
                CLOZE,
                rises=True,
                in_short="Larger models are better at ending stories that begin in another language.",
            ),
        ),
    ),
)
"""What rises and falls is decided by `trends.trend`."""
