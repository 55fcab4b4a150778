"""Corpora from files: seeded draws of the same meanings in all languages, and every kind of bad file said plainly."""

from pathlib import Path

import pytest

from lf_experiments.config import DatasetConfig, InputError, SentenceSource, TextConfig, TextSource
from lf_experiments.corpora.parallel import drawn_sentences
from lf_experiments.corpora.text import documents

NTREX = Path(__file__).parents[2] / "shared" / "data" / "ntrex"


def dataset(root: Path, sentences: int = 4) -> DatasetConfig:
    return DatasetConfig(name="test", source=SentenceSource.files, root=str(root), sentences=sentences)


def text(root: Path) -> TextConfig:
    return TextConfig(name="test", source=TextSource.files, root=str(root))


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
    miniature = DatasetConfig(name="miniature", source=SentenceSource.miniature)
    with pytest.raises(InputError, match="(?s)dataset=miniature has no de, sw.*en, zh.*dataset=files"):
        drawn_sentences(miniature, ["en", "de", "sw"], 0)
    with pytest.raises(InputError, match="text=miniature has no de"):
        documents(TextConfig(name="miniature", source=TextSource.miniature), ["en", "de"])


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
    row = int(drawn.meanings[3].removeprefix("line ")) - 1
    for language in ("en", "zh", "hi"):
        assert drawn.texts[language][3] == (NTREX / f"{language}.txt").read_text(encoding="utf-8").split("\n")[row]
