"""The miniature world: it is complete, it agrees with itself in every language, and its parts are kept apart."""

import itertools
import random
import re
from collections import Counter
from dataclasses import replace
from itertools import islice

import pytest

from lf_experiments.config.schema import DatasetConfig
from lf_experiments.corpora.miniature.documents import Kinds, held_out_documents, training_documents
from lf_experiments.corpora.miniature.stories import miniature_stories
from lf_experiments.corpora.miniature.world import (
    MINIATURE_LANGUAGES,
    SPLITS,
    Meaning,
    meanings,
    sentence,
    table,
)
from lf_experiments.corpora.parallel import whole_corpus
from lf_experiments.languages import LANGUAGES, language_name

SCRIPTS = {
    "Latin": r"[A-Za-zÀ-ɏḀ-ỿ]",
    "Han": r"[一-鿿]",
    "Arabic": r"[ء-ي]",
    "Devanagari": r"[ऀ-ॿ]",
}


def sentences_of(split: str) -> dict[str, set[str]]:
    return {language: {sentence(meaning, language) for meaning in meanings(split)} for language in MINIATURE_LANGUAGES}


def test_the_world_is_as_rich_as_promised() -> None:
    assert len(table("subjects")) >= 20
    assert len(table("actions")) >= 40
    assert len(meanings("analysis")) >= 150
    assert set(MINIATURE_LANGUAGES) == {"ar", "zh", "en", "fr", "hi", "id", "pt", "es", "vi"}


@pytest.mark.parametrize("name", ["subjects", "actions", "places", "times"])
def test_every_phrase_is_there_and_different_in_every_language(name: str) -> None:
    for language in MINIATURE_LANGUAGES:
        phrases = [row[language] for row in table(name).values()]
        assert all(phrase and phrase == phrase.strip() for phrase in phrases)
        assert len(set(phrases)) == len(phrases), language


def test_profiles_name_every_subject_and_only_what_the_tables_have() -> None:
    assert list(table("profiles")) == list(table("subjects"))
    for profile in table("profiles").values():
        for column in ("actions", "places", "times"):
            assert set(profile[column].split()) <= set(table(column))
    used = {action for profile in table("profiles").values() for action in profile["actions"].split()}
    assert used == set(table("actions"))


def test_no_sentence_of_one_split_occurs_in_another() -> None:
    for first, second in itertools.combinations(SPLITS, 2):
        for language in MINIATURE_LANGUAGES:
            assert not sentences_of(first)[language] & sentences_of(second)[language]


def test_the_sentences_of_a_language_are_as_many_as_the_meanings() -> None:
    for split in SPLITS:
        for language, found in sentences_of(split).items():
            assert len(found) == len(meanings(split)), (split, language)


def test_training_stories_hold_no_analysed_sentence_and_no_sentence_of_the_perplexity_text() -> None:
    rng = random.Random(0)
    told = [
        text for subject in table("subjects") for text in islice(training_documents(subject, Kinds(0.4, 0.2, 0.2), rng), 80)
    ]
    training = "\n".join(told)
    held_out = set().union(*sentences_of("analysis").values(), *sentences_of("text").values())
    assert not [text for text in held_out if text in training]
    seen = set().union(*sentences_of("training").values())
    assert sum(text in training for text in seen) > 0.5 * len(seen)  # the search would find a sentence that is there


def test_perplexity_text_is_made_of_held_out_meanings_alone() -> None:
    for language in MINIATURE_LANGUAGES:
        text = " ".join(held_out_documents(language))
        for held_out in sentences_of("text")[language]:
            assert held_out in text
            text = text.replace(held_out, "")
        assert not text.strip()


@pytest.mark.parametrize("language", MINIATURE_LANGUAGES)
def test_sentences_are_written_in_the_script_of_their_language(language: str) -> None:
    own = SCRIPTS[LANGUAGES[language].script]
    foreign = "|".join(pattern for script, pattern in SCRIPTS.items() if script != LANGUAGES[language].script)
    for split in SPLITS:
        for text in sentences_of(split)[language]:
            assert re.search(own, text)
            assert not re.search(foreign, text), text


def test_arabic_and_hindi_verbs_agree_with_their_subject() -> None:
    for split in SPLITS:
        for meaning in meanings(split):
            feminine = table("subjects")[meaning.subject]["gender"] == "f"
            time = table("times")[meaning.time]["ar"]
            verb = sentence(meaning, "ar").removeprefix(time).strip()
            assert verb.startswith("ت" if feminine else "ي")
            assert sentence(meaning, "hi").endswith("ती है।" if feminine else "ता है।")


def test_agreement_on_one_man_and_one_woman() -> None:
    man = Meaning("boy", "read_book", "garden", "morning")
    woman = Meaning("girl", "read_book", "garden", "morning")
    assert sentence(man, "ar") == "في الصباح يقرأ الولد كتابا في الحديقة."
    assert sentence(woman, "ar") == "في الصباح تقرأ البنت كتابا في الحديقة."
    assert sentence(man, "hi") == "सुबह लड़का बगीचे में किताब पढ़ता है।"
    assert sentence(woman, "hi") == "सुबह लड़की बगीचे में किताब पढ़ती है।"


def test_word_order_of_the_other_languages() -> None:
    meaning = Meaning("boy", "read_book", "garden", "morning")
    assert sentence(meaning, "en") == "In the morning, the boy reads a book in the garden."
    assert sentence(meaning, "zh") == "早上，男孩在花园里读一本书。"
    assert sentence(meaning, "vi") == "Vào buổi sáng, cậu bé đọc một cuốn sách trong vườn."


def told(story: str, subject: str) -> list[tuple[Meaning, str]]:
    """The sentences of a story in their order, each as its meaning and its language, found by search; they are all there is."""
    found = []
    for meaning in meanings("training", subject):
        for code in MINIATURE_LANGUAGES:
            if (place := story.find(sentence(meaning, code))) >= 0:
                found.append((place, meaning, code))
    assert sum(len(sentence(meaning, code)) for _, meaning, code in found) + len(found) - 1 == len(story)
    return [(meaning, code) for _, meaning, code in sorted(found, key=lambda item: item[0])]


ONE_LANGUAGE, CUED, TRANSLATED, SWITCHING = Kinds(0, 0, 0), Kinds(1, 0, 0), Kinds(0, 1, 0), Kinds(0, 0, 1)


def stories(subject: str, kinds: Kinds, seed: int, count: int) -> list[str]:
    return list(islice(training_documents(subject, kinds, random.Random(seed)), count))


def test_a_story_in_one_language_stays_with_its_subject_and_is_long() -> None:
    languages = set()
    for story in stories("boy", ONE_LANGUAGE, 1, 40):
        sentences = told(story, "boy")
        assert len({meaning for meaning, _ in sentences}) == len(sentences) == 8
        assert len({code for _, code in sentences}) == 1
        languages.add(sentences[0][1])
    assert languages == set(MINIATURE_LANGUAGES)


def test_in_a_translated_story_every_sentence_is_followed_by_its_translation() -> None:
    for story in stories("girl", TRANSLATED, 1, 40):
        sentences = told(story, "girl")
        assert 3 <= len(sentences) / 2 <= 6
        first, second = sentences[::2], sentences[1::2]
        assert [meaning for meaning, _ in first] == [meaning for meaning, _ in second]
        assert len({code for _, code in first}) == len({code for _, code in second}) == 1
        assert first[0][1] != second[0][1]


def test_a_switching_story_mostly_changes_its_language_after_a_sentence() -> None:
    changes = []
    for story in stories("girl", SWITCHING, 1, 60):
        sentences = told(story, "girl")
        assert len({meaning for meaning, _ in sentences}) == len(sentences) in range(3, 7)
        changes += [before != after for (_, before), (_, after) in itertools.pairwise(sentences)]
    assert sum(changes) / len(changes) == pytest.approx(0.8 * 8 / 9, abs=0.1)  # one in nine is drawn again


def test_stories_are_of_each_kind_as_often_as_is_wanted() -> None:
    found = stories("boy", Kinds(0.5, 0.2, 0.0), 4, 300)
    cued = [story for story in found if "The ending in" in story]
    long = [story for story in found if story not in cued and len({code for _, code in told(story, "boy")}) == 1]
    assert [len(cued) / 300, len(long) / 300] == pytest.approx([0.5, 0.3], abs=0.08)


def test_a_cue_follows_a_beginning_in_one_language_and_names_that_of_the_ending() -> None:
    ending_languages = []
    for story in stories("boy", CUED, 2, 300):
        beginning, name, ending = re.search(r"(.*) The ending in (\w+): (.*)$", story).groups()
        code = next(code for code in MINIATURE_LANGUAGES if language_name(code) == name)
        assert ending in sentences_of("training")[code]
        ending_languages.append(code)
        if len(ending_languages) <= 50:
            assert len({code for _, code in told(beginning, "boy")}) == 1
    assert set(ending_languages) == set(MINIATURE_LANGUAGES)
    assert ending_languages.count("en") / 300 == pytest.approx(1 / 2 + 1 / 2 / 9, abs=0.1)


def test_stories_are_equal_for_equal_seeds_and_differ_for_others() -> None:
    kinds = Kinds(0.3, 0.2, 0.2)
    assert stories("girl", kinds, 3, 20) == stories("girl", kinds, 3, 20) != stories("girl", kinds, 4, 20)


def test_the_analysed_corpus_is_parallel() -> None:
    corpus = whole_corpus(DatasetConfig("miniature", "miniature"), ["fr", "hi"])
    assert corpus.meanings[5] == meanings("analysis")[5].name
    assert corpus.texts["hi"][5] == sentence(meanings("analysis")[5], "hi")


def test_an_unknown_split_is_named() -> None:
    with pytest.raises(ValueError, match="no split 'validation'.*analysis, text, training"):
        meanings("validation")


def test_stories_begin_with_three_sentences_of_one_subject_that_no_other_text_has() -> None:
    told = miniature_stories(list(MINIATURE_LANGUAGES))
    assert list(told) == list(MINIATURE_LANGUAGES)
    subject_of = {sentence(meaning, code): meaning.subject for code in told for meaning in meanings("text")}
    for language, stories in told.items():
        elsewhere = sentences_of("training")[language] | sentences_of("analysis")[language]
        for story in stories:
            assert len(set(story.sentences)) == 3
            assert not elsewhere & set(story.sentences)
            about = {subject_of[text] for text in story.sentences}
            assert [subject_of[ending] in about for ending in story.endings] == [story.right == 0, story.right == 1]
            assert len(about) == 1


def test_the_endings_of_stories_are_new_english_sentences() -> None:
    elsewhere = sentences_of("training")["en"] | sentences_of("analysis")["en"]
    for story in miniature_stories(["en"])["en"]:
        assert not (elsewhere | set(story.sentences)) & set(story.endings)


def test_stories_are_the_same_in_every_language_but_for_their_beginning() -> None:
    told = miniature_stories(["fr", "zh"])
    assert [replace(story, sentences=[]) for story in told["fr"]] == [replace(story, sentences=[]) for story in told["zh"]]
    in_chinese = {sentence(meaning, "fr"): sentence(meaning, "zh") for meaning in meanings("text")}
    for french, chinese in zip(told["fr"], told["zh"], strict=True):
        assert [in_chinese[text] for text in french.sentences] == chinese.sentences
    assert len({story.name for story in told["fr"]}) == len(told["fr"])


def test_nothing_but_the_beginning_tells_the_right_ending() -> None:
    stories = miniature_stories(["en"])["en"]
    assert len(stories) >= 100
    for even in range(0, len(stories) + 1, 2):  # also of the first few
        right = Counter(story.endings[story.right] for story in stories[:even])
        assert right == Counter(story.endings[1 - story.right] for story in stories[:even])
        assert sum(story.right for story in stories[:even]) == even / 2
    apart = [len(first) - len(second) for first, second in (story.endings for story in stories)]
    assert sum(map(abs, apart)) / len(apart) < 4


def test_every_subject_has_stories() -> None:
    subjects = Counter(story.name.split(".")[0] for story in miniature_stories(["en"])["en"])
    assert set(subjects) == set(table("subjects"))
    assert len(set(subjects.values())) == 1
