"""Stories of the miniature world, from meanings that neither the training nor the analysed sentences have."""

from __future__ import annotations

from lf_experiments.config.schema import TextConfig
from lf_experiments.corpora.corpus import Corpus
from lf_experiments.corpora.miniature.documents import held_out_documents
from lf_experiments.corpora.miniature.spoken import refuse_foreign


def miniature_documents(_: TextConfig, languages: list[str]) -> dict[str, list[str]]:
    """{language: stories}."""
    refuse_foreign("text", languages)
    return {language: held_out_documents(language) for language in languages}


CORPUS = Corpus(miniature_documents)
