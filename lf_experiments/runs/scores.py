"""The scores: every number that a run comes to, each described once. Whatever writes, prints, draws, logs or judges scores
loops over `SCORES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from lf_experiments.runs.text import count_of, perplexity_text, score_text, share_text

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#117733", "#7B3294", "#666666"


@dataclass(frozen=True)
class Score:
    """A number that a run comes to: all that is ever said of it."""

    key: str
    """In metrics.json, sweep.csv and the trackers; `<key>_lo` and `<key>_hi` are the ends of its interval."""
    title: str
    meaning: str
    """In one phrase, for a reader outside the field."""
    text: Callable[[float], str]
    """How a value is written."""
    better: Literal["higher", "lower"] | None = None
    """Which direction is better: None where neither is."""
    colour: str = BLUE
    by_language: bool = False
    """Whether there is one value per language; then `<key>_mean` stands for all in a table of runs."""
    by_layer: bool = False
    """Whether it is a column of layers.csv too."""
    by_pair: bool = False
    """Whether it is a column of pairs.csv too: a measure of `measures/alignment`, whose mean over pairs the score is."""
    is_share: bool = False
    """Whether it is drawn in percent."""
    chance: float | None = None
    """What guessing gives."""
    null: str | None = None
    """The key of the score that says what this one is under shuffled labels; it is shown beside this one, not by itself."""
    excess: str | None = None
    """The key of the score that says what this one is beyond its null; figures draw it beside this one."""
    integer: bool = False
    is_count: bool = False
    """Whether it is a number of neurons: between models only shares compare."""
    topic: str | None = None
    """The heading that it is drawn under over training, and over scale at all; None for a score that is drawn over neither."""
    axis: str = ""
    """How the axis of a figure names it, in two short lines."""

    @property
    def column(self) -> str:
        """Its column in a table of runs: `<key>_mean` where there is one value per language."""
        return f"{self.key}_mean" if self.by_language else self.key


REGIONS, ALIGNMENT = "Linguistic regions", "Semantic alignment"

LRDS = Score(
    "lrds",
    "LRDS",
    "how far neurons tell languages apart (eq. 8)",
    score_text,
    "lower",
    ORANGE,
    by_layer=True,
    by_pair=True,
    topic=REGIONS,
    axis="LRDS\n(languages apart)",
)
SADS = Score(
    "sads",
    "SADS",
    "how far neurons see translations as the same (eq. 9)",
    score_text,
    "higher",
    BLUE,
    by_layer=True,
    by_pair=True,
    topic=ALIGNMENT,
    axis="SADS\n(meanings together)",
)
COMMON = Score(
    "common",
    "Common",
    "how alike sentences are that share neither language nor meaning",
    score_text,
    colour=PURPLE,
    by_layer=True,
    by_pair=True,
)
REST = Score(
    "rest",
    "Rest",
    "how far a sentence is like no other: the wording of one meaning in one language",
    score_text,
    colour=GREY,
    by_layer=True,
)
LANGUAGE_SHARE = Score(
    "language_share",
    "Language share",
    "LRDS as a share of what is not common",
    share_text,
    "lower",
    ORANGE,
    by_layer=True,
    is_share=True,
)
MEANING_SHARE = Score(
    "meaning_share",
    "Meaning share",
    "SADS as a share of what is not common",
    share_text,
    "higher",
    BLUE,
    by_layer=True,
    is_share=True,
)
AGREEMENT = Score(
    "alignment",
    "Alignment",
    "how far translations agree across meanings, as a correlation",
    score_text,
    "higher",
    BLUE,
    by_layer=True,
    by_pair=True,
)
MEXA = Score(
    "mexa",
    "MEXA",
    "how often a translation is the nearest of all sentences",
    share_text,
    "higher",
    GREEN,
    by_layer=True,
    by_pair=True,
    is_share=True,
)
CKA = Score(
    "cka",
    "CKA",
    "how alike two languages arrange the meanings, wherever they put them",
    score_text,
    "higher",
    BLUE,
    by_layer=True,
    by_pair=True,
)
ANC = Score(
    "anc",
    "Neuron correlation",
    "how far a neuron follows the meanings alike in two languages, the mean over neurons",
    score_text,
    "higher",
    BLUE,
    by_layer=True,
    by_pair=True,
)
LANGUAGE_ID = Score(
    "language_id",
    "Language identified",
    "how often a sentence is nearer to others of its language than to those of another",
    share_text,
    "lower",
    ORANGE,
    by_layer=True,
    by_pair=True,
    is_share=True,
    chance=0.5,
)
LRDS_HALF = Score(
    "lrds_half",
    "Half of LRDS",
    "the smallest share of all neurons that carries half of LRDS",
    share_text,
    colour=ORANGE,
    is_share=True,
)
SKLR = Score(
    "sklr",
    "SKLR",
    "neurons that stand out for one language, of all languages together (sec. 3.2)",
    count_of,
    integer=True,
    is_count=True,
    null="sklr_null",
    excess="sklr_excess",
)
SKLR_SHARE = Score(
    "sklr_fraction",
    "SKLR, share",
    "neurons that stand out for one language, as a share of all neurons",
    share_text,
    "lower",
    ORANGE,
    is_share=True,
    topic=REGIONS,
    axis="SKLR\n(key neurons, share of all)",
    null="sklr_null_fraction",
    excess="sklr_excess_fraction",
)
SKLR_NULL = Score(
    "sklr_null",
    "SKLR, shuffled",
    "neurons that stand out when the languages of the sentences are shuffled",
    count_of,
    is_count=True,
)
SKLR_NULL_SHARE = Score(
    "sklr_null_fraction",
    "SKLR, shuffled, share",
    "the same as a share of all neurons",
    share_text,
    is_share=True,
)
SKLR_EXCESS = Score(
    "sklr_excess",
    "SKLR, excess",
    "key neurons beyond those that shuffled languages give as well",
    count_of,
    "lower",
    ORANGE,
    is_count=True,
)
SKLR_EXCESS_SHARE = Score(
    "sklr_excess_fraction",
    "SKLR, excess, share",
    "the same as a share of all neurons",
    share_text,
    "lower",
    ORANGE,
    is_share=True,
)
SKLR_REPLICATED = Score(
    "sklr_replicated",
    "SKLR, replicated",
    "key neurons that at least 90 % of the halves of the sentences select again",
    count_of,
    "lower",
    ORANGE,
    is_count=True,
)
PERPLEXITY = Score(
    "perplexity", "Perplexity", "how many next tokens the full model wavers between", perplexity_text, "lower", by_language=True
)
SELECTIVITY = Score(
    "selectivity",
    "Selectivity",
    "how much more a language loses without its own key region than the others do, in nats per token",
    score_text,
    "higher",
    GREEN,
)
AGAINST_CONTROL = Score(
    "against_control",
    "Against random neurons",
    "how much more a language loses without its own key region than without random neurons, in nats per token",
    score_text,
    "higher",
    GREEN,
)
CLOZE = Score(
    "cloze_accuracy",
    "Story cloze",
    "stories of which the full model prefers the right ending",
    share_text,
    "higher",
    BLUE,
    by_language=True,
    is_share=True,
    chance=0.5,
    topic=ALIGNMENT,
    axis="Story cloze\n(right endings)",
)

SCORES: tuple[Score, ...] = (
    LRDS,
    SADS,
    COMMON,
    REST,
    LANGUAGE_SHARE,
    MEANING_SHARE,
    AGREEMENT,
    MEXA,
    CKA,
    ANC,
    LANGUAGE_ID,
    LRDS_HALF,
    SKLR,
    SKLR_SHARE,
    SKLR_NULL,
    SKLR_NULL_SHARE,
    SKLR_EXCESS,
    SKLR_EXCESS_SHARE,
    SKLR_REPLICATED,
    PERPLEXITY,
    SELECTIVITY,
    AGAINST_CONTROL,
    CLOZE,
)
"""In the order in which they are shown."""
NULLS = {score.null for score in SCORES if score.null}
"""The keys of the scores that are shown beside those whose null they are."""
