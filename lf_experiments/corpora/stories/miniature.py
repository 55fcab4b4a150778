"""Stories of the miniature world with two endings, in nine languages."""

from __future__ import annotations

from lf_experiments.config.schema import ClozeConfig
from lf_experiments.corpora.corpus import Corpus
from lf_experiments.corpora.miniature.stories import miniature_stories
from lf_experiments.corpora.miniature.world import MINIATURE_LANGUAGES
from lf_experiments.corpora.stories import told_languages
from lf_experiments.corpora.story import Story


def told_stories(cloze: ClozeConfig, languages: list[str]) -> dict[str, list[Story]]:
    """{language: stories} of the languages that the world speaks."""
    return miniature_stories(told_languages(cloze, languages, list(MINIATURE_LANGUAGES)))


CORPUS = Corpus(told_stories)
