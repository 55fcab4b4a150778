"""The paper's corpora in the form they are published in: from folders, from a hub cache made by hand, and from a server here.

All sentences are made up for these tests.
"""

import csv
import hashlib
import io
import json
import logging
import os
import pyexpat
import random
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pandas as pd
import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import GatedRepoError
from hydra import compose, initialize_config_dir

from lf_experiments.__main__ import configuration_folder
from lf_experiments.config.read import read_config
from lf_experiments.config.schema import ClozeConfig, DatasetConfig, TextConfig
from lf_experiments.corpora import github
from lf_experiments.corpora.corpus import check_corpora
from lf_experiments.corpora.parallel import document_of, drawn_sentences, whole_corpus
from lf_experiments.corpora.stories import stories
from lf_experiments.corpora.story import Story
from lf_experiments.corpora.text import documents
from lf_experiments.errors import InputError
from lf_experiments.hub import explained, published_revisions

NTREX = Path(__file__).parents[2] / "shared" / "data" / "ntrex"


def said(action: Callable[[], object]) -> str:
    """What a user is told, on one line."""
    with pytest.raises(InputError) as error:
        action()
    return " ".join(str(error.value).split())


def read(*overrides: str):
    """The checked configuration, as the command composes it."""
    with initialize_config_dir(configuration_folder(), version_base="1.3"):
        config = read_config(compose("config", list(overrides)))
    check_corpora(config)
    return config


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Lays files down as a commit of a dataset in the cache of the hub's library, as it does itself; returns the commit."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))

    def add(repository: str, revision: str, files: dict[str, bytes]) -> str:
        entry = cache / f"datasets--{repository.replace('/', '--')}"
        commit = hashlib.sha1(f"{repository}@{revision}".encode()).hexdigest()
        for name, content in files.items():
            blob, link = entry / "blobs" / hashlib.sha256(content).hexdigest(), entry / "snapshots" / commit / name
            for path in (blob, link):
                path.parent.mkdir(parents=True, exist_ok=True)
            blob.write_bytes(content)
            link.symlink_to(os.path.relpath(blob, link.parent))
        (entry / "refs" / revision).parent.mkdir(parents=True, exist_ok=True)
        (entry / "refs" / revision).write_text(commit)
        return commit

    return add


def parquet(table: dict[str, list]) -> bytes:
    return pd.DataFrame(table).to_parquet()


def json_lines(table: dict[str, list]) -> str:
    rows = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


# The Bible --------------------------------------------------------------------------------------------------------------


def bible_xml(verses: list[tuple[str, str]], extra: str = "") -> str:
    """A file of the corpus: header, book, chapter, and each verse on a line of its own."""
    segments = "".join(
        f'\t\t\t\t\t<seg id="{verse}" type="verse">\n\t\t\t\t\t\t{text}\n\t\t\t\t\t</seg>\n' for verse, text in verses
    )
    return (
        '<?xml version="1.0" ?>\n<cesDoc version="4">\n\t<cesHeader version="2">\n\t\t<fileDesc>\n\t\t\t<titleStmt>\n'
        "\t\t\t\t<h.title>\n\t\t\t\t\tA made-up book\n\t\t\t\t</h.title>\n\t\t\t</titleStmt>\n\t\t</fileDesc>\n\t</cesHeader>\n"
        '\t<text>\n\t\t<body id="Bible" lang="xx">\n\t\t\t<div id="b.GEN" type="book">\n'
        f'\t\t\t\t<div id="b.GEN.1" type="chapter">\n{extra}{segments}\t\t\t\t</div>\n\t\t\t</div>\n\t\t</body>\n\t</text>\n'
        "</cesDoc>\n"
    )


def verse(number: int) -> str:
    return f"b.GEN.1.{number}"


def meaning(number: int) -> str:
    """A verse as it is called beside its chapter."""
    return f"{verse(number)} of b.GEN.1"


@pytest.fixture
def bibles() -> dict[str, str]:
    """Three files. Of the verses 1 to 30 English has all, French not 3, Chinese not 4, and 5 is empty; French says 6 twice."""
    english = [(verse(number), f"The {number} goats &amp; sheep\n\t\t\t\t\t\tdrink.") for number in range(1, 31)]
    french = [(verse(number), f"Les {number} chèvres boivent.") for number in range(1, 31) if number != 3]
    chinese = [
        (verse(number), f"{number}只山羊喝水。" if number != 5 else "\n\t") for number in range(30, 0, -1) if number != 4
    ]
    return {
        "English.xml": bible_xml(english, extra='\t\t\t\t\t<seg id="b.GEN.1.99" type="heading">A heading</seg>\n'),
        "French.xml": bible_xml([*french, (verse(6), "Encore.")]),
        "Chinese.xml": bible_xml(chinese),
    }


@pytest.fixture
def bible(bibles: dict[str, str], tmp_path: Path) -> DatasetConfig:
    folder = write(tmp_path / "bibles", bibles)
    return DatasetConfig(name="bible", source="bible", root=str(folder), sentences=5)


def test_verses_are_joined_by_their_id(bible: DatasetConfig) -> None:
    corpus = whole_corpus(bible, ["zh", "en", "fr"])
    left = {meaning(number) for number in range(1, 31)} - {meaning(number) for number in (3, 4, 5, 6)}
    assert corpus.meanings == sorted(left)
    assert {document_of(one) for one in corpus.meanings} == {"b.GEN.1"}
    for position, one in enumerate(corpus.meanings):
        number = one.partition(" of ")[0].rpartition(".")[2]
        assert corpus.texts["en"][position] == f"The {number} goats & sheep drink."
        assert corpus.texts["fr"][position] == f"Les {number} chèvres boivent."
        assert corpus.texts["zh"][position] == f"{number}只山羊喝水。"


def test_the_join_is_over_the_chosen_languages_alone(bible: DatasetConfig) -> None:
    assert set(whole_corpus(bible, ["en", "zh"]).meanings) == {
        meaning(number) for number in range(1, 31) if number not in (4, 5)
    }
    assert len(whole_corpus(bible, ["en"]).meanings) == 30


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_verses_are_drawn_with_the_seed_whatever_the_order_of_files(bible: DatasetConfig, seed: int) -> None:
    ids = sorted(meaning(number) for number in range(1, 31) if number not in (4, 5))
    expected = [ids[position] for position in random.Random(seed).sample(range(28), 5)]
    assert drawn_sentences(bible, ["zh", "en"], seed).meanings == expected
    assert drawn_sentences(bible, ["en", "zh"], seed).meanings == expected


def test_more_verses_than_all_languages_have(bible: DatasetConfig) -> None:
    found = said(lambda: drawn_sentences(replace(bible, sentences=100), ["en", "zh", "fr"], 0))
    assert "dataset.sentences=100: the corpus bible has only 26 sentences per language Remedy: ask for at most 26" in found


def test_languages_without_a_verse_in_common(bible: DatasetConfig) -> None:
    write(Path(bible.root), {"Zulu-NT.xml": bible_xml([("b.MAT.1.1", "Izimbuzi."), ("b.MAT.1.2", "Imvu.")])})
    found = said(lambda: drawn_sentences(bible, ["en", "zu"], 0))
    assert "no sentence of bible is in all of them; each has en 30, zu 2 Remedy: leave out the languages that have few" in found


def test_another_edition_of_a_language(bible: DatasetConfig) -> None:
    write(Path(bible.root), {"English-WEB.xml": bible_xml([(verse(1), "One goat."), (verse(2), "Two.")])})
    corpus = whole_corpus(replace(bible, keys={"en": "English-WEB"}), ["en", "fr"])
    assert corpus.texts["en"] == ["One goat.", "Two."]


def test_a_bible_that_is_not_there(bible: DatasetConfig, tmp_path: Path) -> None:
    found = said(lambda: whole_corpus(bible, ["en", "hi"]))
    assert f"dataset.root={bible.root}: it has no Hindi.xml Remedy: add the file, or leave hi out" in found
    found = said(lambda: whole_corpus(replace(bible, root=str(tmp_path / "nowhere")), ["en", "fr"]))
    assert "nowhere: there is no such folder Remedy: give the folder with the XML files of the corpus" in found
    assert "dataset=bible has no ace Remedy: choose among en, zh, fr" in said(lambda: whole_corpus(bible, ["en", "ace"]))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("<cesDoc><seg", "this is not XML: unclosed token"),
        ("version https://git-lfs.github.com/spec/v1\n", "this is not XML: syntax error"),
        ("<cesDoc>&unknown;</cesDoc>", "this is not XML: undefined entity"),
        ('<cesDoc><seg id="b.GEN.1.1" type="heading">x</seg></cesDoc>', 'it has no verses, which are <seg id="b.GEN.1.1"'),
    ],
)
def test_a_bible_that_is_none(bible: DatasetConfig, content: str, problem: str) -> None:
    path = write(Path(bible.root), {"Hindi.xml": content}) / "Hindi.xml"
    found = said(lambda: whole_corpus(bible, ["en", "hi"]))
    assert f"dataset.root={path}: {problem}" in found
    assert found.endswith("Remedy: use the file as it is published")


@pytest.mark.skipif(pyexpat.version_info < (2, 4, 1), reason="this Expat lets entities multiply")
def test_entities_that_multiply_are_refused(bible: DatasetConfig) -> None:
    entities = "".join(f'<!ENTITY e{level} "{f"&e{level - 1};" * 10}">' for level in range(1, 10))
    bomb = f'<!DOCTYPE x [<!ENTITY e0 "ha">{entities}]><cesDoc><seg id="b.GEN.1.1" type="verse">&e9;</seg></cesDoc>'
    write(Path(bible.root), {"Hindi.xml": bomb})
    assert "this is not XML: limit on input amplification" in said(lambda: whole_corpus(bible, ["en", "hi"]))


def test_entities_do_not_read_other_files(bible: DatasetConfig, tmp_path: Path) -> None:
    write(tmp_path, {"secret.txt": "secret"})
    entity = f'<!DOCTYPE x [<!ENTITY other SYSTEM "file://{tmp_path}/secret.txt">]>'
    write(Path(bible.root), {"Hindi.xml": f'{entity}<cesDoc><seg id="b.GEN.1.1" type="verse">&other;</seg></cesDoc>'})
    assert "undefined entity" in said(lambda: whole_corpus(bible, ["en", "hi"]))


# Its download -----------------------------------------------------------------------------------------------------------

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def git_name(content: bytes) -> str:
    return (
        subprocess.run(["git", "hash-object", "--stdin"], input=content, capture_output=True, check=True)
        .stdout.decode()
        .strip()
    )


class GitHub:
    """A repository at one commit, as the two servers answer, with a record of what was asked for."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.names = {path: git_name(content) for path, content in files.items()}
        self.asked: list[str] = []
        self.damaged: set[str] = set()
        self.broken: set[str] = set()

    def answer(self, path: str) -> tuple[int, bytes]:
        self.asked.append(path)
        if path == f"/api/org/corpus/git/trees/{COMMIT}?recursive=1":
            folder = {"path": "bibles", "mode": "040000", "type": "tree", "sha": "f" * 40}
            blobs = [{"path": name, "mode": "100644", "type": "blob", "sha": sha} for name, sha in self.names.items()]
            return 200, json.dumps({"sha": COMMIT, "tree": [folder, *blobs], "truncated": False}).encode()
        name = path.removeprefix(f"/raw/org/corpus/{COMMIT}/").replace("%27", "'")
        if name not in self.files:
            return 404, b"404: Not Found"
        return 200, self.files[name].replace(b"goats", b"goads") if name in self.damaged else self.files[name]


@pytest.fixture
def served(bibles: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    """A server within reach that has the three files and one with a name that addresses must quote."""
    files = {f"bibles/{name}": text.encode() for name, text in bibles.items()}
    files["bibles/K'iche'-NT.xml"] = bible_xml([(verse(1), "Jun k'isik'.")]).encode()
    github_ = GitHub({**files, "README.md": b"A corpus."})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = github_.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            cut = any(self.path.endswith(name) for name in github_.broken)
            self.wfile.write(body[: len(body) // 2] if cut else body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(github, "CONTENT", f"http://127.0.0.1:{server.server_port}/raw")
    monkeypatch.setattr(github, "LISTING", f"http://127.0.0.1:{server.server_port}/api")
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield github_
    server.shutdown()
    server.server_close()


@pytest.fixture
def remote(tmp_path: Path) -> DatasetConfig:
    """The corpus without a folder."""
    return DatasetConfig(
        name="bible",
        source="bible",
        repository="org/corpus",
        revision=COMMIT,
        downloads=str(tmp_path / "cache" / "corpora"),
        sentences=5,
    )


def kept(remote: DatasetConfig) -> list[str]:
    """The files that downloads have left, hidden ones too."""
    folder = Path(remote.downloads)
    return sorted(str(path.relative_to(folder / "org/corpus" / COMMIT)) for path in folder.rglob("*") if path.is_file())


def test_a_download_gives_what_the_folder_gives(served: GitHub, remote: DatasetConfig, bible: DatasetConfig) -> None:
    assert drawn_sentences(remote, ["en", "zh"], 3) == drawn_sentences(bible, ["en", "zh"], 3)
    assert kept(remote) == ["bibles/Chinese.xml", "bibles/English.xml", "listing.json"]
    assert len(served.asked) == 3


def test_a_second_use_needs_no_network(served: GitHub, remote: DatasetConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    first = drawn_sentences(remote, ["en", "zh"], 3)
    served.asked.clear()
    for address in ("CONTENT", "LISTING"):
        monkeypatch.setattr(github, address, "http://127.0.0.1:9")
    assert drawn_sentences(remote, ["en", "zh"], 3) == first
    assert served.asked == []


def test_a_file_whose_name_must_be_quoted(served: GitHub, remote: DatasetConfig) -> None:
    assert whole_corpus(remote, ["en", "quc"]).texts["quc"] == ["Jun k'isik'."]
    assert any(path.endswith("K%27iche%27-NT.xml") for path in served.asked)


def test_a_damaged_download_is_refused_and_not_kept(served: GitHub, remote: DatasetConfig) -> None:
    served.damaged = {"bibles/English.xml"}
    found = said(lambda: whole_corpus(remote, ["zh", "en"]))
    wrong = git_name(served.files["bibles/English.xml"].replace(b"goats", b"goads"))
    assert found == (
        f"dataset.repository=org/corpus@{COMMIT}: bibles/English.xml came damaged: its checksum is {wrong}, not "
        f"{served.names['bibles/English.xml']} Remedy: try again; or give dataset.root=FOLDER"
    )
    assert kept(remote) == ["bibles/Chinese.xml", "listing.json"]
    served.damaged = set()
    assert len(whole_corpus(remote, ["zh", "en"]).meanings) == 28


@pytest.mark.parametrize("name", ["Chinese.xml", "recursive=1"])
def test_a_download_that_breaks_off_leaves_nothing(served: GitHub, remote: DatasetConfig, name: str) -> None:
    served.broken = {name}
    assert f"dataset.repository=org/corpus@{COMMIT}: " in said(lambda: whole_corpus(remote, ["zh", "en"]))
    assert kept(remote) == (["listing.json"] if name == "Chinese.xml" else [])
    served.broken = set()
    assert len(whole_corpus(remote, ["zh", "en"]).meanings) == 28


def test_a_file_that_was_damaged_since_is_downloaded_again(served: GitHub, remote: DatasetConfig) -> None:
    first = whole_corpus(remote, ["en", "zh"])
    path = Path(remote.downloads) / "org/corpus" / COMMIT / "bibles" / "English.xml"
    path.write_text(path.read_text().replace("goats", "coats"))
    served.asked.clear()
    assert whole_corpus(remote, ["en", "zh"]) == first
    assert [asked.rpartition("/")[2] for asked in served.asked] == ["English.xml"]


@pytest.mark.usefixtures("served")
def test_a_file_that_the_repository_lacks(remote: DatasetConfig) -> None:
    assert said(lambda: whole_corpus(remote, ["en", "hi"])) == (
        f"dataset.repository=org/corpus@{COMMIT}: it has no bibles/Hindi.xml; it has Chinese.xml, English.xml, French.xml, "
        "K'iche'-NT.xml Remedy: choose among them with +dataset.keys.CODE=NAME; or give dataset.root=FOLDER"
    )


@pytest.mark.usefixtures("served")
def test_a_repository_that_does_not_answer(remote: DatasetConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    found = said(lambda: whole_corpus(replace(remote, repository="org/other"), ["en", "zh"]))
    assert "recursive=1 cannot be downloaded: HTTP Error 404: Not Found Remedy: run it once with a network; or give" in found
    monkeypatch.setattr(github, "LISTING", "http://127.0.0.1:9")
    assert "cannot be downloaded: <urlopen error [Errno" in said(lambda: whole_corpus(remote, ["en", "zh"]))
    assert not any(path.is_file() for path in Path(remote.downloads).rglob("*"))


@pytest.mark.parametrize("revision", ["master", "0123", None])
def test_a_branch_is_not_a_commit(remote: DatasetConfig, revision: str | None) -> None:
    found = said(lambda: whole_corpus(replace(remote, revision=revision), ["en", "zh"]))
    assert f"dataset.revision={revision or 'null'}: this is no commit Remedy: give its 40 hexadecimal digits" in found


def test_the_name_of_a_content_is_git_s(tmp_path: Path) -> None:
    for content, name in (
        (b"", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
        (b"hello\n", "ce013625030ba8dba906f756967f9e9ca394464a"),
    ):
        (tmp_path / "file").write_bytes(content)
        assert github.content_name(tmp_path / "file") == name


# FLORES -----------------------------------------------------------------------------------------------------------------

FLORES = {
    "eng_Latn": ["A bridge.", "Two bridges.", "Three.", "The fourth bridge."],
    "fra_Latn": ["Un pont.", "Deux ponts.", "", "Le quatrième pont."],
    "zho_Hans": ["一座桥。", "两座桥。", "三座。", "第四座桥。"],
    "zho_Hant": ["一座橋。", "兩座橋。", "三座。", "第四座橋。"],
}


def flores(**changes) -> DatasetConfig:
    settings = DatasetConfig(
        name="flores", source="flores", repository="org/flores", revision="main", split="devtest", sentences=2
    )
    return replace(settings, **changes)


def flores_form(form: str, hub: Callable[..., str], folder: Path, pages: list[str] | None = None) -> DatasetConfig:
    """FLORES in one of the forms it is published in, which may tell the page of each sentence."""
    wide = FLORES | ({"URL": pages} if pages else {})
    if form == "table of the hub":
        hub(
            "org/flores",
            "main",
            {"data/devtest-00000-of-00001.parquet": parquet(wide), "data/dev-00000-of-00001.parquet": b"x"},
        )
        return flores()
    if form == "table in two files":
        half = [{key: texts[part] for key, texts in wide.items()} for part in (slice(0, 2), slice(2, 4))]
        hub("org/flores", "main", {f"default/devtest/000{number}.parquet": parquet(table) for number, table in enumerate(half)})
        return flores()
    rows = {key: {"id": [5, 6, 7, 8], "iso_639_3": [key[:3]] * 4, "text": texts} for key, texts in FLORES.items()}
    rows = {key: table | ({"url": pages} if pages else {}) for key, table in rows.items()}
    if form == "parquet per language":
        hub("org/flores", "main", {f"devtest/{key}.parquet": parquet(table) for key, table in rows.items()})
        return flores()
    if form == "json per language":
        hub("org/flores", "main", {f"devtest/{key}.jsonl": json_lines(table).encode() for key, table in rows.items()})
        return flores()
    write(folder, {f"devtest/{key}.devtest": "".join(f"{text}\n" for text in texts) for key, texts in FLORES.items()})
    if pages:
        write(folder, {"metadata_devtest.tsv": "".join(f"{page}\tx\n" for page in ("URL", *pages))})
    return flores(root=str(folder), repository=None)


@pytest.mark.parametrize(
    "form", ["table of the hub", "table in two files", "parquet per language", "json per language", "text per language"]
)
def test_flores_is_read_in_every_form(form: str, hub: Callable[..., str], tmp_path: Path) -> None:
    corpus = whole_corpus(flores_form(form, hub, tmp_path / "flores200_dataset"), ["fr", "zh", "en"])
    ids = (
        [f"id {number}" for number in (5, 6, 8)]
        if "per language" in form and "text" not in form
        else ["line 1", "line 2", "line 4"]
    )
    assert corpus.meanings == ids
    assert corpus.texts == {
        "fr": ["Un pont.", "Deux ponts.", "Le quatrième pont."],
        "zh": ["一座桥。", "两座桥。", "第四座桥。"],
        "en": ["A bridge.", "Two bridges.", "The fourth bridge."],
    }


@pytest.mark.parametrize(
    "form", ["table of the hub", "table in two files", "parquet per language", "json per language", "text per language"]
)
def test_the_page_of_a_sentence_of_flores_is_its_document(form: str, hub: Callable[..., str], tmp_path: Path) -> None:
    pages = ["https://en.wikinews.org/wiki/Bridge", "", "x", "https://en.wikinews.org/wiki/Bridge"]
    found = whole_corpus(flores_form(form, hub, tmp_path / "release", pages), ["fr", "zh", "en"]).meanings
    first, second, fourth = (
        ("id 5", "id 6", "id 8") if "per language" in form and "text" not in form else ("line 1", "line 2", "line 4")
    )
    assert found == [f"{first} of {pages[0]}", second, f"{fourth} of {pages[0]}"]
    assert [document_of(one) for one in found] == [pages[0], None, pages[0]]


def test_a_page_that_one_language_alone_tells_is_that_of_all(hub: Callable[..., str]) -> None:
    english, french = {"id": [1, 2], "text": ["one", "two"], "url": ["a", "b"]}, {"id": [1, 2], "text": ["un", "deux"]}
    tables = (("eng_Latn", english), ("fra_Latn", french))
    hub("org/flores", "main", {f"devtest/{key}.jsonl": json_lines(table).encode() for key, table in tables})
    assert whole_corpus(flores(), ["fr", "en"]).meanings == ["id 1 of a", "id 2 of b"]


def test_pages_of_the_release_that_do_not_fit(hub: Callable[..., str], tmp_path: Path) -> None:
    release = flores_form("text per language", hub, tmp_path / "release")
    write(tmp_path / "release", {"metadata_devtest.tsv": "page\tdomain\nx\ty\n"})
    found = said(lambda: whole_corpus(release, ["en", "fr"]))
    assert "metadata_devtest.tsv has no column URL; it has page, domain Remedy: use the corpus as it is published" in found
    write(tmp_path / "release", {"metadata_devtest.tsv": "URL\tdomain\nx\ty\n"})
    found = said(lambda: whole_corpus(release, ["en", "fr"]))
    assert "different numbers of lines: en 4, fr 4, documents 1" in found


def test_flores_in_the_other_script(hub: Callable[..., str], tmp_path: Path) -> None:
    settings = flores_form("table of the hub", hub, tmp_path)
    assert whole_corpus(replace(settings, keys={"zh": "zho_Hant"}), ["en", "zh"]).texts["zh"] == FLORES["zho_Hant"]
    assert whole_corpus(settings, ["zh", "zh-Hant"]).texts == {"zh": FLORES["zho_Hans"], "zh-Hant": FLORES["zho_Hant"]}


def test_sentences_by_id_are_joined_and_not_counted(hub: Callable[..., str]) -> None:
    english, french = {"id": [1, 2, 3], "text": ["one", "two", "three"]}, {"id": [3, 1], "text": ["trois", "un"]}
    hub(
        "org/flores",
        "main",
        {f"devtest/{key}.jsonl": json_lines(table).encode() for key, table in (("eng_Latn", english), ("fra_Latn", french))},
    )
    corpus = whole_corpus(flores(), ["en", "fr"])
    assert corpus.texts == {"en": ["one", "three"], "fr": ["un", "trois"]}


def test_flores_without_a_language(hub: Callable[..., str], tmp_path: Path) -> None:
    table = flores_form("table of the hub", hub, tmp_path)
    assert said(lambda: whole_corpus(table, ["en", "hi"])) == (
        "dataset.repository=org/flores@main: devtest-00000-of-00001.parquet has no column hin_Deva; it has eng_Latn, fra_Latn, "
        "zho_Hans, zho_Hant Remedy: use the corpus as it is published"
    )
    files = flores_form("text per language", hub, tmp_path / "release")
    assert said(lambda: whole_corpus(files, ["en", "hi"])) == (
        f"dataset.root={tmp_path / 'release'}: it has no table devtest.parquet with a column hin_Deva, nor "
        "devtest/hin_Deva.devtest, devtest/hin_Deva.parquet, devtest/hin_Deva.jsonl Remedy: add it, or leave hi out of "
        "language_set.languages"
    )
    hub("org/few", "main", {"devtest/eng_Latn.jsonl": b'{"id": 1, "text": "one"}\n'})
    found = said(lambda: whole_corpus(flores(repository="org/few"), ["en", "hi"]))
    assert "devtest/hin_Deva.jsonl Remedy: run it once with a network, or leave hi out" in found


def test_flores_that_is_damaged(hub: Callable[..., str], tmp_path: Path) -> None:
    hub("org/text", "main", {"data/devtest-00000-of-00001.parquet": b"not a table"})
    found = said(lambda: whole_corpus(flores(repository="org/text"), ["en", "fr"]))
    assert "devtest-00000-of-00001.parquet is no parquet file: " in found
    assert found.endswith("Remedy: download it again")
    for content, problem in ((b'{"id": 1}\n', "'text'"), (b"{", "Expecting property name"), (b"[]\n", "list indices")):
        hub("org/lines", problem, {"devtest/eng_Latn.jsonl": content, "devtest/fra_Latn.jsonl": b'{"id": 1, "text": "un"}\n'})
        found = said(lambda problem=problem: whole_corpus(flores(repository="org/lines", revision=problem), ["en", "fr"]))
        assert f"line 1 of eng_Latn.jsonl is no JSON object with id, text: {problem}" in found
    folder = write(tmp_path / "cut", {"devtest/eng_Latn.devtest": "one\ntwo\n", "devtest/fra_Latn.devtest": "un\n"})
    found = said(lambda: whole_corpus(flores(root=str(folder)), ["en", "fr"]))
    assert "the files have different numbers of lines: en 2, fr 1 Remedy: align them line by line" in found
    (folder / "devtest" / "fra_Latn.devtest").write_bytes("été\n".encode("latin-1"))
    assert "not UTF-8 at byte 0" in said(lambda: whole_corpus(flores(root=str(folder)), ["en", "fr"]))


# NTREX ------------------------------------------------------------------------------------------------------------------


def ntrex(**changes) -> DatasetConfig:
    settings = DatasetConfig(name="ntrex", source="ntrex", repository="org/ntrex", revision="main", sentences=2)
    return replace(settings, **changes)


NEWS = {
    "src.eng": "Rain.\nSnow.\nWind.\n",
    "ref.fra": "Pluie.\n\nVent.\n",
    "ref.zho-CN": "雨。\n雪。\n风。\n",
    "ref-2.spa": "No.\nNo.\nNo.\n",
}
NEWS_READ = {"zh": ["雨。", "风。"], "en": ["Rain.", "Wind."], "fr": ["Pluie.", "Vent."]}


@pytest.mark.parametrize("where", ["", "NTREX-128/"])
def test_ntrex_from_the_release(where: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "NTREX", {f"{where}newstest2019-{name}.txt": text for name, text in NEWS.items()})
    corpus = whole_corpus(ntrex(root=str(folder)), ["zh", "en", "fr"])
    assert (corpus.meanings, corpus.texts) == (["line 1", "line 3"], NEWS_READ)


def test_ntrex_from_the_hub(hub: Callable[..., str]) -> None:
    folders = {"src.eng": "eng_Latn", "ref.fra": "fra_Latn", "ref.zho-CN": "zho_Hans"}
    hub(
        "org/ntrex", "main", {f"data/{folder}/newstest2019-{name}.txt": NEWS[name].encode() for name, folder in folders.items()}
    )
    assert whole_corpus(ntrex(), ["zh", "en", "fr"]).texts == NEWS_READ


def test_ntrex_from_a_folder_of_codes(tmp_path: Path) -> None:
    names = {"en": "src.eng", "fr": "ref.fra", "zh": "ref.zho-CN"}
    folder = write(tmp_path / "codes", {f"{code}.txt": NEWS[name] for code, name in names.items()})
    assert whole_corpus(ntrex(root=str(folder)), ["zh", "en", "fr"]).texts == NEWS_READ
    assert "it has no file for hi (hi.txt); it has en, fr, zh" in said(
        lambda: whole_corpus(ntrex(root=str(folder)), ["hi", "en"])
    )


@pytest.mark.parametrize("where", ["", "NTREX-128/"])
def test_ntrex_tells_the_document_of_every_sentence_where_it_has_them(where: str, tmp_path: Path) -> None:
    folder = write(tmp_path, {f"{where}newstest2019-{name}.txt": text for name, text in NEWS.items()})
    write(tmp_path, {"DOCUMENT_IDS.tsv": "bbc.1\nbbc.1\nguardian.2\n"})
    corpus = whole_corpus(ntrex(root=str(folder)), ["zh", "en", "fr"])
    assert corpus.meanings == ["line 1 of bbc.1", "line 3 of guardian.2"]
    assert [document_of(meaning) for meaning in corpus.meanings] == ["bbc.1", "guardian.2"]
    assert document_of("line 1") is None
    write(tmp_path, {"DOCUMENT_IDS.tsv": "bbc.1\n"})
    found = said(lambda: whole_corpus(ntrex(root=str(folder)), ["zh", "en"]))
    assert "the files have different numbers of lines" in found and "documents 1" in found


def ntrex_text(folder: Path) -> TextConfig:
    return TextConfig("ntrex", "ntrex", repository="org/ntrex", root=str(folder))


def test_the_articles_of_ntrex_are_text(tmp_path: Path) -> None:
    folder = write(tmp_path, {"en.txt": "One.\nTwo.\n\nFour.\n", "fr.txt": "Un.\nDeux.\n\nQuatre.\n"})
    write(tmp_path, {"document_ids.tsv": "bbc.1\nbbc.1\nbbc.1\nguardian.2\n"})
    assert documents(ntrex_text(folder), ["fr", "en"]) == {"fr": ["Un.\nDeux.", "Quatre."], "en": ["One.\nTwo.", "Four."]}


def test_articles_without_their_names_are_no_text(tmp_path: Path) -> None:
    folder = write(tmp_path, {"en.txt": "One.\nTwo.\n"})
    assert said(lambda: documents(ntrex_text(folder), ["en"])) == (
        f"text.root={folder}: it has no DOCUMENT_IDS.tsv or document_ids.tsv, which tell the document of every line "
        "Remedy: add the file of the release, or give text=files"
    )
    write(tmp_path, {"document_ids.tsv": "bbc.1\n"})
    found = said(lambda: documents(ntrex_text(folder), ["en"]))
    assert "en has 2 lines, and the documents are those of 1 lines" in found


def test_a_second_reference_is_another_text(tmp_path: Path) -> None:
    folder = write(tmp_path / "NTREX", {f"newstest2019-{name}.txt": text for name, text in NEWS.items()})
    assert said(lambda: whole_corpus(ntrex(root=str(folder)), ["en", "es"])) == (
        f"dataset.root={folder}: it has no newstest2019-src.spa.txt nor newstest2019-ref.spa.txt Remedy: add it, or leave es "
        "out of language_set.languages"
    )


def test_another_variety_of_a_language(tmp_path: Path) -> None:
    folder = write(tmp_path, {"newstest2019-ref.por-BR.txt": "Chuva.\n", "newstest2019-ref.eng-US.txt": "Rain.\n"})
    settings = ntrex(root=str(folder), keys={"pt": "por-BR", "en": "eng-US"})
    assert whole_corpus(settings, ["pt", "en"]).texts == {"pt": ["Chuva."], "en": ["Rain."]}


def test_misaligned_news(tmp_path: Path) -> None:
    folder = write(tmp_path, {"newstest2019-src.eng.txt": "Rain.\nSnow.\n", "newstest2019-ref.fra.txt": "Pluie.\n"})
    assert "different numbers of lines: fr 1, en 2" in said(lambda: whole_corpus(ntrex(root=str(folder)), ["fr", "en"]))


@pytest.mark.skipif(not NTREX.is_dir(), reason="the NTREX sentences are not here")
def test_the_sentences_of_ntrex() -> None:
    drawn = drawn_sentences(ntrex(root=str(NTREX), sentences=100), ["en", "zh", "hi"], 0)
    row = int(drawn.meanings[3].split()[1]) - 1
    for language in ("en", "zh", "hi"):
        assert drawn.texts[language][3] == (NTREX / f"{language}.txt").read_text(encoding="utf-8").split("\n")[row].strip()


# Belebele ---------------------------------------------------------------------------------------------------------------


def belebele(**changes) -> DatasetConfig:
    return replace(DatasetConfig("belebele", "belebele", repository="org/belebele", revision="main", sentences=2), **changes)


def questions(key: str, passages: list[tuple[str, int, str]]) -> str:
    """A file of the corpus: a question per line, about the passage (link, question, passage)."""
    links, numbers, texts = (list(column) for column in zip(*passages, strict=True))
    count = len(passages)
    answers = {f"mc_answer{number}": [f"{key} {number}"] * count for number in range(1, 5)}
    return json_lines(
        {
            "link": [f"https://en.wikinews.org/wiki/{link}" for link in links],
            "question_number": numbers,
            "flores_passage": texts,
            "question": [f"{key}?"] * count,
            **answers,
            "correct_answer_num": ["2"] * count,
            "dialect": [key] * count,
            "ds": ["2023-05-03"] * count,
        }
    )


PASSAGES = {
    "eng_Latn": [("Flood", 1, "It rained. It rose."), ("Flood", 2, "It rained. It rose."), ("Fire", 1, "It burns."),
                 ("Feast", 1, "They eat."), ("Feast", 2, "They drink."), ("Storm", 1, "It blows. ")],
    "fra_Latn": [("Storm", 1, "Il vente."), ("Feast", 1, "On mange."), ("Flood", 2, "Il a plu. Il est monté."),
                 ("Flood", 1, "Il a plu. Il est monté."), ("Fire", 1, " ")],
    "hin_Latn": [("Storm", 1, "Hava chali."), ("Flood", 1, "Barish hui.")],
}  # fmt: skip
"""English says two things of the feast, French nothing of the fire."""


@pytest.fixture(params=["hub", "release"])
def published_passages(request: pytest.FixtureRequest, hub: Callable[..., str], tmp_path: Path) -> DatasetConfig:
    """Belebele from the hub and from a folder."""
    files = {f"{key}.jsonl": questions(key, passages) for key, passages in PASSAGES.items()}
    if request.param == "hub":
        hub("org/belebele", "main", {f"data/{name}": text.encode() for name, text in files.items()})
        return belebele()
    return belebele(root=str(write(tmp_path / "Belebele", files)), repository=None)


def test_passages_are_joined_by_their_link_and_read_once(published_passages: DatasetConfig) -> None:
    corpus = whole_corpus(published_passages, ["fr", "en"])
    assert corpus.meanings == [f"https://en.wikinews.org/wiki/{name}" for name in ("Flood", "Storm")]
    assert corpus.texts == {"fr": ["Il a plu. Il est monté.", "Il vente."], "en": ["It rained. It rose.", "It blows."]}


def test_a_romanized_language_by_its_key(published_passages: DatasetConfig) -> None:
    corpus = whole_corpus(replace(published_passages, keys={"hi": "hin_Latn"}), ["hi", "en"])
    assert corpus.texts["hi"] == ["Barish hui.", "Hava chali."]


def test_passages_that_are_not_there(published_passages: DatasetConfig) -> None:
    found = said(lambda: whole_corpus(published_passages, ["en", "hi"]))
    get = "add it" if published_passages.root else "run it once with a network"
    assert f"it has no data/hin_Deva.jsonl nor hin_Deva.jsonl Remedy: {get}, or leave hi out" in found
    assert "dataset=belebele has no tlh Remedy: choose among en, zh" in said(
        lambda: whole_corpus(published_passages, ["en", "tlh"])
    )


def test_passages_of_another_form(tmp_path: Path) -> None:
    folder = write(tmp_path, {"eng_Latn.jsonl": '{"link": "x", "passage": "It rained."}\n'})
    found = said(lambda: whole_corpus(belebele(root=str(folder)), ["en", "fr"]))
    assert "line 1 of eng_Latn.jsonl is no JSON object with link, flores_passage" in found


# XL-Sum -----------------------------------------------------------------------------------------------------------------

ARTICLES = {
    "english": ["A flood.", " ", "A fire. It is out.", "A feast."],
    "french": ["Une crue.", "Un feu.", "Une fête."],
    "chinese_simplified": ["洪水。", "火灾。"],
    "chinese_traditional": ["洪水。", "火災。"],
}


def xlsum(**changes) -> TextConfig:
    settings = TextConfig(
        name="xlsum", source="xlsum", repository="org/xlsum", revision="refs/convert/parquet", split="validation"
    )
    return replace(settings, **changes)


def article_table(texts: list[str]) -> dict[str, list[str]]:
    numbers = [str(number) for number in range(len(texts))]
    return {"id": numbers, "url": numbers, "title": ["Title"] * len(texts), "summary": ["Sum"] * len(texts), "text": texts}


@pytest.fixture(params=["hub", "release"])
def published_text(request: pytest.FixtureRequest, hub: Callable[..., str], tmp_path: Path) -> TextConfig:
    """XL-Sum in each of its two forms, with articles of another split beside those that are asked for."""
    tables = {key: article_table(texts) for key, texts in ARTICLES.items()}
    if request.param == "hub":
        files = {f"{key}/validation/0000.parquet": parquet(table) for key, table in tables.items()}
        hub("org/xlsum", "refs/convert/parquet", {**files, "english/train/0000.parquet": parquet(article_table(["Other."]))})
        return xlsum()
    files = {f"{key}_val.jsonl": json_lines(table) for key, table in tables.items()}
    folder = write(tmp_path / "XLSum", {**files, "english_train.jsonl": json_lines(article_table(["Other."]))})
    return xlsum(root=str(folder), repository=None)


def test_articles_are_read_in_both_forms(published_text: TextConfig) -> None:
    assert documents(published_text, ["zh", "en", "fr"]) == {
        "zh": ["洪水。", "火灾。"],
        "en": ["A flood.", "A fire. It is out.", "A feast."],
        "fr": ["Une crue.", "Un feu.", "Une fête."],
    }


def test_the_first_articles(published_text: TextConfig) -> None:
    found = documents(replace(published_text, documents=2), ["zh", "en", "fr"])
    assert found == {"zh": ["洪水。", "火灾。"], "en": ["A flood.", "A fire. It is out."], "fr": ["Une crue.", "Un feu."]}


def test_both_scripts_of_chinese(published_text: TextConfig) -> None:
    other = replace(published_text, keys={"zh": "chinese_traditional"})
    assert (
        documents(other, ["en", "zh"])["zh"] == documents(published_text, ["en", "zh-Hant"])["zh-Hant"] == ["洪水。", "火災。"]
    )


def test_text_of_a_language_that_is_not_there(published_text: TextConfig) -> None:
    found = said(lambda: documents(published_text, ["en", "hi"]))
    get = "add it" if published_text.root else "run it once with a network"
    assert f"it has no hindi/validation/*.parquet nor hindi_val.jsonl Remedy: {get}, or leave hi out" in found
    assert "text=xlsum has no de Remedy: choose among en, zh, fr, es" in said(lambda: documents(published_text, ["en", "de"]))


def test_a_table_without_text(hub: Callable[..., str]) -> None:
    hub("org/xlsum", "refs/convert/parquet", {"english/validation/0000.parquet": parquet({"id": ["1"], "summary": ["Short."]})})
    found = said(lambda: documents(xlsum(), ["en", "en"]))
    assert "text.repository=org/xlsum@refs/convert/parquet: 0000.parquet has no column text; it has id, summary" in found


def test_files_too_can_be_cut_to_the_first_documents(tmp_path: Path) -> None:
    folder = write(tmp_path, {"en.txt": "one\n\ntwo\n\nthree\n"})
    settings = TextConfig(name="files", source="files", root=str(folder), documents=2)
    assert documents(settings, ["en"]) == {"en": ["one", "two"]}


# What can be wrong with a repository --------------------------------------------------------------------------------------


def test_a_dataset_that_is_not_cached(hub: Callable[..., str], tmp_path: Path) -> None:
    remedy = "Remedy: run it once with a network and without HF_HUB_OFFLINE, or choose what is cached; or give text.root=FOLDER"
    where = f"in {tmp_path / 'hub'}"
    assert said(lambda: documents(xlsum(), ["en", "fr"])) == (
        "text.repository=org/xlsum@refs/convert/parquet: the hub cannot be reached, and nothing of this repository is cached "
        f"{where} {remedy}"
    )
    hub("org/xlsum", "refs/convert/parquet", {"README.md": b"-"})
    found = said(lambda: documents(xlsum(revision="v2"), ["en", "fr"]))
    assert (
        f"@v2: the hub cannot be reached, and of this repository only refs/convert/parquet is cached {where} {remedy}" in found
    )


def test_a_model_of_the_same_name_is_no_dataset(hub: Callable[..., str], tmp_path: Path) -> None:
    hub("org/xlsum", "main", {"README.md": b"-"})
    (tmp_path / "hub" / "datasets--org--xlsum").rename(tmp_path / "hub" / "models--org--xlsum")
    assert "nothing of this repository is cached" in said(lambda: documents(xlsum(), ["en", "fr"]))


def test_what_the_hub_says_of_a_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    def refs(repository: str, repo_type: str) -> SimpleNamespace:
        assert (repository, repo_type) == ("org/xlsum", "dataset")
        named = [SimpleNamespace(name=name, ref=f"refs/heads/{name}") for name in ("main", "v2")]
        return SimpleNamespace(branches=named, tags=[], converts=[SimpleNamespace(name="parquet", ref="refs/convert/parquet")])

    monkeypatch.setattr(HfApi, "list_repo_refs", lambda _, *arguments, **named: refs(*arguments, **named))
    assert published_revisions("dataset", "org/xlsum") == ["v2", "main", "refs/convert/parquet"]
    _, remedy = explained(GatedRepoError.__new__(GatedRepoError), "dataset", "org/xlsum", "main")
    assert remedy == "accept them on https://huggingface.co/datasets/org/xlsum, then `hf auth login`"


@pytest.mark.usefixtures("hub")
def test_a_name_that_no_dataset_can_have() -> None:
    found = said(lambda: whole_corpus(flores(repository="a/b/c"), ["en", "fr"]))
    assert found.startswith(
        "dataset.repository=a/b/c@main: this is no name of a repository Remedy: give it as ORGANISATION/NAME"
    )


# XStoryCloze ------------------------------------------------------------------------------------------------------------

CLOZE_HEADER = [
    "story_id",
    *[f"input_sentence_{i}" for i in range(1, 5)],
    "sentence_quiz1",
    "sentence_quiz2",
    "answer_right_ending",
]
OLD_HEADER = [
    "InputStoryid", *[f"InputSentence{i}" for i in range(1, 5)],
    "RandomFifthSentenceQuiz1", "RandomFifthSentenceQuiz2", "AnswerRightEnding",
]  # fmt: skip


def told(language: str, answers: dict[str, int]) -> list[list[str | int]]:
    """Rows of the task, each sentence naming its language, story and place in the story."""
    return [
        [name, *[f"{language} {name}.{i}" for i in range(1, 5)], f'{language} "{name}" ends', f"{language} {name} stops", right]
        for name, right in answers.items()
    ]


STORIES = {
    "en": told("en", {"s1": 1, "s2": 2, "s3": 2, "s4": 1}),
    "es": told("es", {"s4": 1, "s3": 1, "s2": 2, "s1": 1}),
    "zh": told("zh", {"s1": 1, "s2": 2, "s3": 2, "s5": 1}),
}


def cloze(**changes) -> ClozeConfig:
    settings = ClozeConfig(
        name="xstorycloze",
        source="xstorycloze",
        repository="org/cloze",
        revision="refs/convert/parquet",
        split="eval",
    )
    return replace(settings, **changes)


def tab_separated(header: list[str], rows: list[list[str | int]]) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter="\t").writerows([header, *rows])
    return text.getvalue()


@pytest.fixture(params=["hub", "release"])
def published_cloze(request: pytest.FixtureRequest, hub: Callable[..., str], tmp_path: Path) -> ClozeConfig:
    """The task in each of its two forms."""
    if request.param == "hub":
        tables = {key: pd.DataFrame(rows, columns=CLOZE_HEADER) for key, rows in STORIES.items()}
        hub(
            "org/cloze",
            "refs/convert/parquet",
            {f"{key}/eval/0000.parquet": table.to_parquet() for key, table in tables.items()},
        )
        return cloze()
    headers = {"en": OLD_HEADER, "es": CLOZE_HEADER, "zh": OLD_HEADER}
    files = {
        f"spring2016.val.{key}.tsv.split_20_80_eval.tsv": tab_separated(headers[key], rows) for key, rows in STORIES.items()
    }
    return cloze(root=str(write(tmp_path / "cloze", files)), repository=None)


def story(language: str, name: str, right: int) -> Story:
    beginning = [f"{language} {name}.{number}" for number in range(1, 5)]
    return Story(name, beginning, (f'en "{name}" ends', f"en {name} stops"), right)


def test_stories_begin_in_their_language_and_end_in_english(published_cloze: ClozeConfig, caplog) -> None:
    caplog.set_level(logging.WARNING)
    assert stories(published_cloze, ["zh", "en"]) == {
        language: [story(language, "s1", 0), story(language, "s2", 1), story(language, "s3", 1)] for language in ("zh", "en")
    }
    assert caplog.messages == []


def test_stories_whose_right_ending_differs_are_left_out_and_counted(published_cloze: ClozeConfig, caplog) -> None:
    found = stories(published_cloze, ["es", "zh"])
    assert found == {language: [story(language, "s1", 0), story(language, "s2", 1)] for language in ("es", "zh")}
    assert caplog.messages == ["1 of 3 stories do not have the same right ending in all languages: left out"]


def test_languages_that_the_task_lacks_are_left_out_and_named(published_cloze: ClozeConfig, caplog) -> None:
    assert list(stories(published_cloze, ["fr", "zh", "pt", "en"])) == ["zh", "en"]
    assert caplog.messages == ["cloze=xstorycloze has no fr, pt: only zh, en are evaluated"]


def test_no_language_that_the_task_has(published_cloze: ClozeConfig) -> None:
    assert said(lambda: stories(published_cloze, ["fr", "pt", "vi"])) == (
        "language_set.languages=['fr', 'pt', 'vi']: cloze=xstorycloze has none of them Remedy: choose among en, zh, es, ar, "
        "hi, id, eu, my, ru, sw, te, or leave out the stage cloze"
    )


def test_the_first_stories(published_cloze: ClozeConfig) -> None:
    assert [told.name for told in stories(replace(published_cloze, stories=2), ["zh", "en"])["zh"]] == ["s1", "s2"]


def test_a_language_that_the_table_does_not_have(published_cloze: ClozeConfig) -> None:
    assert list(stories(replace(published_cloze, keys={"fr": "zh"}), ["fr", "en"])) == ["fr", "en"]


def test_stories_that_are_not_there(published_cloze: ClozeConfig) -> None:
    found = said(lambda: stories(published_cloze, ["hi", "en"]))
    assert "it has no hi/eval/*.parquet nor spring2016.val.hi.tsv.split_20_80_eval.tsv Remedy: " in found
    key = "cloze.root=" if published_cloze.root else "cloze.repository=org/cloze@refs/convert/parquet"
    assert found.startswith(key)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (["s1", "a", "b", "c", "d", "e", "f"], "row 2 of spring2016.val.es.tsv.split_20_80_eval.tsv has 7 columns, not 8"),
        (["s1", "a", "b", "c", "d", "e", "f", 3], "the right ending of story s1 in es is 3, not 1 or 2"),
        (["s9", "a", "b", "c", "d", "e", "f", 1], "en, es share no story by its id"),
    ],
)
def test_stories_of_another_form(row: list, problem: str, tmp_path: Path) -> None:
    tables = {"en": told("en", {"s1": 1}), "es": [row]}
    files = {f"spring2016.val.{key}.tsv.split_20_80_eval.tsv": tab_separated(OLD_HEADER, rows) for key, rows in tables.items()}
    settings = cloze(root=str(write(tmp_path, files)))
    assert f"{problem} Remedy: use the task as it is published" in said(lambda: stories(settings, ["es"]))


def test_stories_of_the_miniature_world(monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    def three(languages: list[str]) -> dict[str, list[Story]]:
        return {language: [story(language, "m", 0)] * 3 for language in languages}

    monkeypatch.setattr("lf_experiments.corpora.stories.miniature.miniature_stories", three)
    settings = ClozeConfig(name="miniature", source="miniature", stories=2)
    assert stories(settings, ["fr", "de"]) == {"fr": [story("fr", "m", 0)] * 2}
    assert caplog.messages == ["cloze=miniature has no de: only fr are evaluated"]
    assert "cloze=miniature has none of them" in said(lambda: stories(settings, ["de", "ru"]))


# The options --------------------------------------------------------------------------------------------------------------


def test_the_paper_s_corpora_by_name(tmp_path: Path) -> None:
    config = read("dataset=bible", "text=xlsum", "cloze=xstorycloze", f"cache.dir={tmp_path}")
    assert config.dataset.downloads == f"{tmp_path}/corpora"
    assert config.dataset.sentences == 100
    assert (config.text.split, config.text.documents) == ("validation", 500)
    assert [corpus.licence for corpus in (config.dataset, config.text, config.cloze)] == [
        "CC0 1.0",
        "CC BY-NC-SA 4.0",
        "CC BY-SA 4.0",
    ]


@pytest.mark.parametrize("option", ["belebele", "bible", "flores", "flores_plus", "ntrex"])
def test_the_languages_of_the_paper_can_be_read_from_every_corpus(option: str) -> None:
    config = read(f"dataset={option}", "dataset.root=/nowhere")
    assert "there is no such folder" in said(lambda: drawn_sentences(config.dataset, config.languages, 0))


def test_keys_on_the_command_line() -> None:
    assert read("dataset=flores", "++dataset.keys.zh=zho_Hant").dataset.keys == {"zh": "zho_Hant"}
    assert read("dataset=flores_plus", "++dataset.keys.zh=x").dataset.keys == {"zh": "x", "zh-Hant": "cmn_Hant"}
    assert read("text=xlsum", "+text.keys.zh=chinese_traditional").text.keys == {"zh": "chinese_traditional"}


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (
            ["dataset=files"],
            "dataset.root=null: the folder with one <code>.txt per language is missing Remedy: give dataset.root=FOLDER",
        ),
        (
            ["text=files", "text.root=null"],
            "text.root=null: the folder with one <code>.txt per language is missing Remedy: give text.root=FOLDER",
        ),
        (
            ["dataset=bible", "dataset.repository=null"],
            "dataset.root=null: nothing says where bible is Remedy: give dataset.root=",
        ),
        (["dataset=bible", "dataset.downloads=null"], "dataset.downloads=null: nothing says where to keep it"),
        (
            ["dataset=flores", "dataset.split=null"],
            "dataset.split=null: flores has several parts Remedy: name one, as conf/dataset/f",
        ),
        (["text=xlsum", "text.repository=null"], "text.root=null: nothing says where xlsum is"),
        (["text=xlsum", "text.documents=0"], "text.documents=0: at least 1 is needed"),
        (["cloze=xstorycloze", "cloze.split=null"], "cloze.split=null: xstorycloze has several parts"),
        (["cloze=xstorycloze", "cloze.stories=0"], "cloze.stories=0: at least 1 is needed"),
    ],
)
def test_options_that_lack_something(overrides: list[str], problem: str) -> None:
    assert problem in said(lambda: read(*overrides))


def test_a_folder_takes_the_place_of_the_repository() -> None:
    overrides = ["dataset.root=/bibles", "dataset.repository=null", "dataset.downloads=null"]
    assert read("dataset=bible", *overrides).dataset.root == "/bibles"
