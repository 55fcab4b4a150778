"""Corpora from files: seeded draws of the same meanings in all languages, and every kind of bad file said plainly."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from lf_experiments.config.schema import ClozeConfig, DatasetConfig, TextConfig
from lf_experiments.corpora.corpus import is_here, load_corpus
from lf_experiments.corpora.parallel import ParallelSentences, drawn_sentences
from lf_experiments.corpora.stories import stories
from lf_experiments.corpora.text import documents
from lf_experiments.errors import InputError

NTREX = Path(__file__).parents[2] / "shared" / "data" / "ntrex"


def dataset(root: Path, sentences: int = 4) -> DatasetConfig:
    return DatasetConfig(name="test", source="files", root=str(root), sentences=sentences)


def text(root: Path) -> TextConfig:
    return TextConfig(name="test", source="files", root=str(root))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for language in ("en", "de"):
        (tmp_path / f"{language}.txt").write_text("".join(f"{language} {i}\n" for i in range(1, 21)), encoding="utf-8")
    return tmp_path


def test_the_same_meanings_are_drawn_in_all_languages(corpus: Path) -> None:
    drawn = drawn_sentences(dataset(corpus), ["de", "en"], seed=0)
    assert len(set(drawn.meanings)) == 4
    for meaning, german, english in zip(drawn.meanings, drawn.texts["de"], drawn.texts["en"], strict=True):
        number = meaning.removeprefix("line ")
        assert (german, english) == (f"de {number}", f"en {number}")


def test_the_draw_is_seeded_random_and_not_the_first_lines(corpus: Path) -> None:
    draws = [drawn_sentences(dataset(corpus, 8), ["en"], seed).meanings for seed in range(5)]
    assert draws[0] == drawn_sentences(dataset(corpus, 8), ["en"], 0).meanings
    assert len({tuple(draw) for draw in draws}) == 5
    assert all(draw != [f"line {i}" for i in range(1, 9)] for draw in draws)


def test_the_draw_does_not_depend_on_the_languages(corpus: Path) -> None:
    assert drawn_sentences(dataset(corpus), ["en"], 0).meanings == drawn_sentences(dataset(corpus), ["de", "en"], 0).meanings


def test_lines_end_at_line_feeds_alone(corpus: Path) -> None:
    (corpus / "en.txt").write_bytes("\ufeffone\u2028still one\x85\r\ntwo\r\n".encode())
    (corpus / "de.txt").write_text("eins\nzwei", encoding="utf-8")
    drawn = drawn_sentences(dataset(corpus, 2), ["en", "de"], 0)
    assert sorted(drawn.texts["en"]) == ["one\u2028still one\x85", "two"]


def test_a_bare_carriage_return_shifts_no_sentence(corpus: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for language, broken in (("en", 3), ("de", 9)):
        said = [f"{language}\r{i}" if i == broken else f"{language} {i}" for i in range(1, 14)]
        (corpus / f"{language}.txt").write_bytes("\r\n".join([*said, ""]).encode())
    drawn = drawn_sentences(dataset(corpus, 13), ["en", "de"], 0)
    for meaning, english, german in zip(drawn.meanings, drawn.texts["en"], drawn.texts["de"], strict=True):
        number = meaning.removeprefix("line ")
        assert english == ("en\r3" if number == "3" else f"en {number}")
        assert german == ("de\r9" if number == "9" else f"de {number}")
    assert caplog.messages == [
        f"{corpus}/{language}.txt has carriage returns that end no line, in line {number}: they are kept in the text"
        for language, number in (("en", 3), ("de", 9))
    ]


def test_a_bare_carriage_return_ends_no_document(tmp_path: Path) -> None:
    (tmp_path / "en.txt").write_bytes(b"first\r\rstill first\r\n\r\nsecond\n")
    assert documents(text(tmp_path), ["en"]) == {"en": ["first\r\rstill first", "second"]}


@pytest.mark.parametrize("content", ["", "\n", " \r\n\n"])
def test_an_empty_file(corpus: Path, content: str) -> None:
    (corpus / "en.txt").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="(?s)en.txt: en.txt is empty.*put text into it"):
        drawn_sentences(dataset(corpus), ["de", "en"], 0)


def test_a_file_that_may_not_be_read(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(InputError, match="(?s)en.txt: en.txt cannot be read: Permission denied.*the right to read it"):
        drawn_sentences(dataset(corpus), ["en", "de"], 0)


@pytest.mark.parametrize("code", ["../en", "sub/en", "..\\en", "/en", "en\0"])
def test_a_code_never_leads_out_of_the_folder(corpus: Path, code: str) -> None:
    (corpus / "root" / "sub").mkdir(parents=True)
    (corpus / "root" / "sub" / "en.txt").write_text("secret\n", encoding="utf-8")
    with pytest.raises(InputError, match="(?s)language_set.languages=.*would lead into another folder.*leave out /"):
        drawn_sentences(dataset(corpus / "root", 1), [code, "de"], 0)


@pytest.mark.parametrize(("source", "name"), [("bible", "English"), ("flores", "eng_Latn"), ("ntrex", "eng")])
def test_the_name_of_a_language_never_leads_out_of_a_published_corpus(corpus: Path, source: str, name: str) -> None:
    (corpus / "published").mkdir()
    published = DatasetConfig(source, source, root=str(corpus / "published"), split="dev", keys={"en": f"../{name}"})
    with pytest.raises(InputError, match=f"(?s)dataset.keys.en=../{name}: .*would lead into another folder"):
        drawn_sentences(published, ["de", "en"], 0)


def test_more_sentences_than_there_are(corpus: Path) -> None:
    with pytest.raises(InputError, match="(?s)dataset.sentences=21: the corpus test has only 20.*at most 20"):
        drawn_sentences(dataset(corpus, 21), ["en", "de"], 0)


def test_misaligned_files(corpus: Path) -> None:
    (corpus / "de.txt").write_text("eins\n", encoding="utf-8")
    with pytest.raises(InputError, match="(?s)different numbers of lines: en 20, de 1.*align"):
        drawn_sentences(dataset(corpus), ["en", "de"], 0)


@pytest.mark.parametrize("blank", ["", "  \t"])
def test_an_empty_line(corpus: Path, blank: str) -> None:
    (corpus / "de.txt").write_text(f"eins\n{blank}\n" + "x\n" * 18, encoding="utf-8")
    with pytest.raises(InputError, match="line 2 of de.txt is empty"):
        drawn_sentences(dataset(corpus), ["en", "de"], 0)


def test_a_language_without_a_file(corpus: Path) -> None:
    with pytest.raises(InputError, match=r"(?s)no file for fr \(fr.txt\); it has de, en.*leave fr out"):
        drawn_sentences(dataset(corpus), ["en", "fr"], 0)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"dataset.root=.*nowhere: there is no such folder"):
        drawn_sentences(dataset(tmp_path / "nowhere"), ["en"], 0)


def test_a_file_that_is_not_utf8(corpus: Path) -> None:
    (corpus / "de.txt").write_bytes("Grün\n".encode("latin-1"))
    with pytest.raises(InputError, match="(?s)de.txt: not UTF-8 at byte 2.*iconv"):
        drawn_sentences(dataset(corpus), ["en", "de"], 0)


def test_a_language_the_miniature_world_does_not_speak() -> None:
    miniature = DatasetConfig(name="miniature", source="miniature")
    with pytest.raises(InputError, match="(?s)dataset=miniature has no de, sw.*en, zh.*dataset=files"):
        drawn_sentences(miniature, ["en", "de", "sw"], 0)
    with pytest.raises(InputError, match="text=miniature has no de"):
        documents(TextConfig(name="miniature", source="miniature"), ["en", "de"])


def test_documents_that_hold_a_sentence_of_the_dataset_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "en.txt").write_text("One.\nTwo.\n\nThree. One of us.\n\nFour.\n\nFive.", encoding="utf-8")
    (tmp_path / "fr.txt").write_text("Un.\n\nDeux.", encoding="utf-8")
    config, languages = replace(text(tmp_path), held_out=True), ["en", "fr"]
    read = ParallelSentences(["1", "2"], {"en": ["Two.", "Four."], "fr": ["Trois.", "Quatre."]})
    assert documents(config, languages, read) == {"en": ["Three. One of us.", "Five."], "fr": ["Un.", "Deux."]}
    assert documents(replace(config, documents=1), languages, read) == {"en": ["Three. One of us."], "fr": ["Un."]}
    assert len(documents(replace(config, held_out=False), languages)["en"]) == 4
    everything = replace(read, texts={"en": ["."], "fr": ["Nulle part."]})
    with pytest.raises(InputError, match="text.held_out=true: every document in en holds one of the sentences") as refused:
        documents(config, languages, everything)
    assert "choose another text, or fewer dataset.sentences" in str(refused.value)


def test_blank_lines_separate_documents(tmp_path: Path) -> None:
    (tmp_path / "en.txt").write_text("\n\nfirst\nstill first\n \n\t\n\nsecond\r\n\r\nthird", encoding="utf-8")
    assert documents(text(tmp_path), ["en"]) == {"en": ["first\nstill first", "second", "third"]}


def test_an_empty_text(tmp_path: Path) -> None:
    (tmp_path / "en.txt").write_text(" \n\n", encoding="utf-8")
    with pytest.raises(InputError, match="en.txt is empty"):
        documents(text(tmp_path), ["en"])


@pytest.mark.skipif(not NTREX.is_dir(), reason="the NTREX sentences are not here")
def test_ntrex_is_read_aligned() -> None:
    drawn = drawn_sentences(dataset(NTREX, 100), ["en", "zh", "hi"], 0)
    row = int(drawn.meanings[3].split()[1]) - 1
    for language in ("en", "zh", "hi"):
        assert drawn.texts[language][3] == (NTREX / f"{language}.txt").read_text(encoding="utf-8").split("\n")[row]


# By name ------------------------------------------------------------------------------------------------------------------

OWN = """
from lf_experiments.corpora.corpus import Corpus
from lf_experiments.corpora.story import Story


def sayings(config, languages):
    assert config.split == "proverbs"
    return {language: {"b": f"{language} two", "a": f"{language} one", language: "alone"} for language in languages}


def tales(config, languages):
    return {language: [f"a tale in {language}", "another"] for language in languages}


def told(config, languages):
    return {languages[0]: [Story("s", ["Once."], ("Then.", "Not."), 0)] * 2}


def silent(config, languages):
    return {"en": tales(config, ["en"])["en"], "de": []}


def listed(config, languages):
    return [languages]


CHECKED = Corpus(tales, needs=("split",))
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module with corpora of one's own in the working directory."""
    (tmp_path / "my_corpora.py").write_text(OWN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("own")
def test_a_corpus_of_ones_own_needs_no_change_here() -> None:
    mine = DatasetConfig("mine", "my_corpora:sayings", split="proverbs", sentences=2)
    drawn = drawn_sentences(mine, ["de", "en"], 0)
    assert drawn.languages == ["de", "en"]
    assert sorted(drawn.meanings) == ["a", "b"]
    assert drawn.texts["de"][drawn.meanings.index("a")] == "de one"
    assert documents(TextConfig("mine", "my_corpora:tales", documents=1), ["en"]) == {"en": ["a tale in en"]}
    assert list(stories(ClozeConfig("mine", "my_corpora:told", stories=1), ["en", "de"])) == ["en"]
    assert is_here("dataset", mine)


@pytest.mark.usefixtures("own")
def test_a_corpus_of_ones_own_that_is_not_right() -> None:
    checked = TextConfig("mine", "my_corpora:CHECKED")
    with pytest.raises(InputError, match="text.split=null: my_corpora:CHECKED has several parts"):
        load_corpus("text", checked).check("text", checked)
    with pytest.raises(InputError, match="(?s)text.source=my_corpora:silent: mine holds nothing in de, fr.*leave them out"):
        documents(TextConfig("mine", "my_corpora:silent"), ["en", "de", "fr"])
    with pytest.raises(InputError, match="text.source=my_corpora:listed: it returned list, not a dict of languages"):
        documents(TextConfig("mine", "my_corpora:listed"), ["en"])
    with pytest.raises(InputError, match="text.source=my_corpora:lost: the module my_corpora has no lost"):
        documents(TextConfig("mine", "my_corpora:lost"), ["en"])


def test_an_unknown_name_lists_those_there_are() -> None:
    for group, config, names in (
        ("dataset", DatasetConfig("x", "ntrexx"), "belebele, bible, files, flores, miniature, ntrex"),
        ("text", TextConfig("x", "bible"), "files, miniature, ntrex, xlsum"),
        ("cloze", ClozeConfig("x", "xlsum"), "miniature, xstorycloze"),
    ):
        with pytest.raises(InputError, match=f"(?s){group}.source={config.source}: .*choose among {names}, or give your own"):
            load_corpus(group, config)


def test_what_is_read_without_a_download(tmp_path: Path) -> None:
    assert is_here("dataset", DatasetConfig("miniature", "miniature"))
    assert is_here("text", text(tmp_path))
    assert not is_here("text", TextConfig("xlsum", "xlsum", repository="org/xlsum"))
    assert is_here("text", TextConfig("xlsum", "xlsum", repository="org/xlsum", root=str(tmp_path)))
