"""The table of languages: whole, in order, with scripts that Unicode knows and the names that published corpora use."""

import re
import sys
import unicodedata
from functools import cache
from pathlib import Path

import pytest
import yaml

from lf_experiments.errors import InputError
from lf_experiments.languages import LANGUAGES, corpus_keys, language_name, languages_of, read_languages

SETS = Path(__file__).parents[1] / "conf" / "language_set"
PAPER = ["en", "zh", "fr", "es", "pt", "ar", "vi", "hi", "id"]
SCRIPTS = {
    "Arab": "Arabic", "Armn": "Armenian", "Beng": "Bengali", "Cyrl": "Cyrillic", "Deva": "Devanagari", "Ethi": "Ethiopic",
    "Geor": "Georgian", "Grek": "Greek", "Gujr": "Gujarati", "Guru": "Gurmukhi", "Hang": "Hangul", "Hans": "Han", "Hant": "Han",
    "Hebr": "Hebrew", "Jpan": "Han+Hiragana+Katakana", "Khmr": "Khmer", "Knda": "Kannada", "Laoo": "Lao", "Latn": "Latin",
    "Mlym": "Malayalam", "Mymr": "Myanmar", "Olck": "Ol_Chiki", "Orya": "Oriya", "Sinh": "Sinhala", "Taml": "Tamil",
    "Telu": "Telugu", "Tfng": "Tifinagh", "Thai": "Thai", "Tibt": "Tibetan",
}  # fmt: skip
"""ISO 15924, as FLORES uses it, in Unicode's words."""


def language_set(name: str) -> list[str]:
    return yaml.safe_load((SETS / f"{name}.yaml").read_text(encoding="utf-8"))["languages"]


def test_the_languages_of_the_paper_come_first() -> None:
    assert list(LANGUAGES)[:9] == PAPER == language_set("paper9")
    assert list(LANGUAGES)[9:] == sorted(list(LANGUAGES)[9:])


def test_codes_and_names_are_those_of_one_language_each() -> None:
    for code, language in LANGUAGES.items():
        assert re.fullmatch(r"[a-z]{2,3}(-[A-Z][a-z]{3})?", code), code
        assert language.code == code
        assert language.name == language.name.strip() != ""
    assert len({language.name for language in LANGUAGES.values()}) == len(LANGUAGES) == 243
    rows = (Path(__file__).parents[1] / "lf_experiments" / "languages.tsv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == len(LANGUAGES) + 1
    assert {row.count("\t") for row in rows} == {7}


@cache
def first_words() -> set[str]:
    """How the names of all characters begin, with one word and with two."""
    words = [unicodedata.name(chr(point), "").split() for point in range(sys.maxunicode)]
    return {" ".join(name[:count]) for name in words for count in (1, 2)}


@pytest.mark.parametrize("script", sorted({script for language in LANGUAGES.values() for script in language.script.split("+")}))
def test_unicode_has_characters_of_every_script(script: str) -> None:
    name = {"Han": "CJK"}.get(script, script.replace("_", " ").upper())
    assert name in first_words()


def test_scripts_are_those_that_flores_names() -> None:
    for code in languages_of("flores"):
        expected = SCRIPTS[LANGUAGES[code].keys["flores"].split("_")[1]]
        assert expected in LANGUAGES[code].script, code
        assert LANGUAGES[code].script == expected or code == "uz"


@pytest.mark.parametrize(
    ("corpus", "count"), [("bible", 91), ("flores", 204), ("ntrex", 122), ("xlsum", 45), ("xstorycloze", 11)]
)
def test_every_corpus_has_its_languages_under_names_of_their_own(corpus: str, count: int) -> None:
    keys = [LANGUAGES[code].keys[corpus] for code in languages_of(corpus)]
    assert len(set(keys)) == len(keys) == count


def test_three_letter_codes_are_those_of_the_corpora() -> None:
    for code, language in LANGUAGES.items():
        for corpus in ("flores", "ntrex"):
            if corpus in language.keys and len(code.split("-")[0]) == 3:
                assert language.keys[corpus][:3] == code[:3]


CALLED_OTHERWISE = {
    "xlsum": {"zh", "zh-Hant", "rn", "pcm", "sr", "sr-Latn"},
    "bible": {"acu", "cni", "cjp", "cak", "kbh", "gd", "fa", "uk", "sl", "sr-Latn"},
}


@pytest.mark.parametrize("corpus", CALLED_OTHERWISE)
def test_corpora_that_use_english_names_use_those_of_the_table(corpus: str) -> None:
    for code in set(languages_of(corpus)) - CALLED_OTHERWISE[corpus]:
        key = re.sub("-(NT|PART)$", "", LANGUAGES[code].keys[corpus]).lower()
        assert key == LANGUAGES[code].name.lower().replace(" ", "_"), code


def test_the_names_that_are_not_the_table_s() -> None:
    assert [LANGUAGES[code].keys["xlsum"] for code in ("zh", "zh-Hant", "rn", "pcm", "sr", "sr-Latn")] == [
        "chinese_simplified", "chinese_traditional", "kirundi", "pidgin", "serbian_cyrillic", "serbian_latin"
    ]  # fmt: skip
    assert [LANGUAGES[code].keys["bible"] for code in ("gd", "fa", "uk", "sl", "sr-Latn")] == [
        "Gaelic-PART", "Farsi", "Ukranian-NT", "Slovene", "Serbian"
    ]  # fmt: skip
    assert [LANGUAGES[code].keys["ntrex"] for code in ("en", "zh", "zh-Hant", "sr", "ckb")] == [
        "eng", "zho-CN", "zho-TW", "srp-Cyrl", "ckb-Arab"
    ]  # fmt: skip


def test_the_sets_of_languages() -> None:
    assert len(set(language_set("bloom46"))) == len(language_set("bloom46")) == 46
    assert set(language_set("bloom46")) <= set(languages_of("flores"))
    assert set(language_set("xstorycloze")) == set(languages_of("xstorycloze"))
    for corpus in ("bible", "flores", "ntrex", "xlsum"):
        assert set(PAPER) <= set(languages_of(corpus))


def test_norwegian_is_a_language_and_not_false() -> None:
    assert language_name("no") == "Norwegian"
    assert yaml.safe_load("[no, 'no']") == [False, "no"]  # the trap that docs/data.md warns of


def test_names() -> None:
    assert [language_name(code) for code in ("zh", "zh-Hant", "ja", "tlh")] == [
        "Chinese",
        "Chinese (traditional)",
        "Japanese",
        "tlh",
    ]
    assert LANGUAGES["ja"].script == "Han+Hiragana+Katakana"


def test_what_a_corpus_calls_a_language() -> None:
    assert corpus_keys("dataset", "flores", ["zh", "no"], {"no": "nob_Latn", "fr": "x"}) == {"zh": "zho_Hans", "no": "nob_Latn"}
    assert corpus_keys("text", "xlsum", ["zh"], {"zh": "chinese_traditional"}) == {"zh": "chinese_traditional"}
    assert list(corpus_keys("dataset", "bible", ["hi", "en"], {})) == ["hi", "en"]


def test_a_language_that_a_corpus_lacks() -> None:
    with pytest.raises(InputError) as error:
        corpus_keys("cloze", "xstorycloze", ["en", "fr", "pt"], {"tlh": "tlh"})
    assert " ".join(str(error.value).split()) == (
        "language_set.languages=['en', 'fr', 'pt']: cloze=xstorycloze has no fr, pt Remedy: choose among en, zh, es, ar, "
        "hi, id, eu, my, ru, sw, te, tlh, or say what the corpus calls it: +cloze.keys.fr=NAME"
    )


def test_a_table_with_a_corpus_more(tmp_path: Path) -> None:
    path = tmp_path / "languages.tsv"
    path.write_text("code\tname\tscript\tmine\nde\tGerman\tLatin\tdeutsch\nno\tNorwegian\tLatin\t\n", encoding="utf-8")
    found = read_languages(path)
    assert {code: language.keys for code, language in found.items()} == {"de": {"mine": "deutsch"}, "no": {}}
