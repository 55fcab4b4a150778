"""Doubts about texts, in words: numbers computed from a copied, repeated or mislabelled language look like any others."""

from __future__ import annotations

from itertools import combinations

from lf_experiments.languages import LANGUAGES, script_share

SHARED = 0.1
"""Two languages may share so many of their texts, such as names and titles, without a doubt."""
REPEATED = 0.05
"""A language may repeat so many of its texts without a doubt."""
FOREIGN = 0.5
"""A language must have so many of its letters in its script."""
LETTERS_READ = 20_000
"""Characters per language that the script is judged by."""
EXAMPLES = 5
"""Pairs of languages that a doubt names."""


def doubts(corpus: str, unit: str, texts: dict[str, list[str]]) -> list[str]:
    """One sentence for each doubt about `texts`, {language: texts}; none where nothing is strange.

    `corpus` and `unit` are words for the messages: `dataset=ntrex`, `sentences`.
    """
    found = [*copies(unit, texts), shared(unit, texts), repeated(unit, texts), in_another_script(texts)]
    return [f"{corpus}: {doubt}" for doubt in found if doubt]


def copies(unit: str, texts: dict[str, list[str]]) -> list[str]:
    """Languages with the same texts throughout."""
    return [
        f"{', '.join(group)} have the same {len(texts[group[0]])} {unit}, word for word: are they one language?"
        for group in equal_languages(texts)
        if len(group) > 1
    ]


def equal_languages(texts: dict[str, list[str]]) -> list[list[str]]:
    """The languages, those with equal texts together."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for language, of_language in texts.items():
        groups.setdefault(tuple(of_language), []).append(language)
    return list(groups.values())


def shared(unit: str, texts: dict[str, list[str]]) -> str | None:
    """Pairs of languages that share more than `SHARED` of their texts, copies apart."""
    different = {group[0]: set(texts[group[0]]) for group in equal_languages(texts)}
    counts = {(one, other): len(different[one] & different[other]) for one, other in combinations(different, 2)}
    pairs = [
        f"{one} and {other} {count} of {min(len(different[one]), len(different[other]))}"
        for (one, other), count in sorted(counts.items(), key=lambda pair: -pair[1])
        if count > SHARED * min(len(different[one]), len(different[other]))
    ]
    listed = ", ".join(pairs[:EXAMPLES]) + (f" and {len(pairs) - EXAMPLES} more pairs" if len(pairs) > EXAMPLES else "")
    return f"languages share {unit}, word for word: {listed}. Were they not translated?" if pairs else None


def repeated(unit: str, texts: dict[str, list[str]]) -> str | None:
    """Languages that repeat more than `REPEATED` of their texts."""
    counts = {language: len(of_language) - len(set(of_language)) for language, of_language in texts.items()}
    listed = ", ".join(
        f"{language} {count} of {len(texts[language])}"
        for language, count in counts.items()
        if count > REPEATED * len(texts[language])
    )
    return f"{unit} are repeats of earlier ones: {listed}. Different meanings should be said differently" if listed else None


def in_another_script(texts: dict[str, list[str]]) -> str | None:
    """Languages with less than `FOREIGN` of their letters in their own script."""
    shares = {language: script_share(" ".join(of_language)[:LETTERS_READ], language) for language, of_language in texts.items()}
    listed = ", ".join(
        f"{language} has {share:.0%} of its letters in {LANGUAGES[language].script}"
        for language, share in shares.items()
        if share is not None and share < FOREIGN
    )
    return (
        f"text is not in the script of its language: {listed}. Is it transliterated, or another language?" if listed else None
    )
