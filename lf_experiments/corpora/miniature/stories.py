"""Stories with two endings, for the cross-lingual story cloze: told in any language of the world, ending in English.

The right ending goes on about the subject of the story, the wrong one is about another. Stories come in pairs that share their
endings: what is right after one beginning is wrong after the other, so that nothing but the beginning can decide.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

from lf_experiments.corpora.miniature.world import Meaning, meanings, sentence, table
from lf_experiments.corpora.story import Story

STORIES_PER_SUBJECT = 5


@dataclass(frozen=True)
class Plot:
    """A story apart from any language, one subject all through."""

    beginning: tuple[Meaning, ...]
    ending: Meaning


def miniature_stories(languages: list[str]) -> dict[str, list[Story]]:
    """{language: stories}, the same in every language; their meanings are held out of training and of the analysis."""
    return {
        language: [
            Story(
                name=plot.ending.name,
                sentences=[sentence(meaning, language) for meaning in plot.beginning],
                endings=(sentence(pair[0].ending, "en"), sentence(pair[1].ending, "en")),
                right=right,
            )
            for pair in pairs_of_plots()
            for right, plot in enumerate(pair)
        ]
        for language in languages
    }


@cache
def pairs_of_plots() -> list[tuple[Plot, Plot]]:
    """All plots, each beside another whose ending is as like its own as possible, but about another subject."""
    unpaired = [plot for subject in table("subjects") for plot in plots(subject)]
    pairs = []
    while unpaired:
        plot = unpaired.pop(0)
        others = [other for other in unpaired if other.ending.subject != plot.ending.subject]
        partner = max(others, key=lambda other: likeness(plot.ending, other.ending))
        unpaired.remove(partner)
        pairs.append((plot, partner))
    return pairs


def plots(subject: str) -> list[Plot]:
    """Stories of a subject, each with an ending of its own after three of the subject's other held-out meanings."""
    kept = meanings("text", subject)
    rng = random.Random(subject)
    return [
        Plot(tuple(rng.sample([meaning for meaning in kept if meaning != ending], 3)), ending)
        for ending in kept[:STORIES_PER_SUBJECT]
    ]


def likeness(one: Meaning, other: Meaning) -> tuple[int, int]:
    """In how many of action, place and time two meanings agree; then how near their lengths in English are."""
    agreeing = (one.action == other.action) + (one.place == other.place) + (one.time == other.time)
    return agreeing, -abs(len(sentence(one, "en")) - len(sentence(other, "en")))
