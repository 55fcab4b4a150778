"""The sentences of the miniature world that no grown model was trained on, in nine languages."""

from __future__ import annotations

from lf_experiments.config.schema import DatasetConfig
from lf_experiments.corpora.corpus import Corpus
from lf_experiments.corpora.miniature.spoken import refuse_foreign
from lf_experiments.corpora.miniature.world import meanings, sentence


def miniature_sentences(_: DatasetConfig, languages: list[str]) -> dict[str, dict[str, str]]:
    """{language: {meaning: sentence}} of the meanings kept for the analysis."""
    refuse_foreign("dataset", languages)
    return {language: {meaning.name: sentence(meaning, language) for meaning in meanings("analysis")} for language in languages}


CORPUS = Corpus(miniature_sentences, aligned=True)
