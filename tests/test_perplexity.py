"""Perplexity: windows as the paper cuts them, likelihoods against the model's own loss, and the head in chunks."""

import math

import pandas as pd
import pytest
import torch

from lf_experiments.config import InputError, TextConfig, TextSource, Windows
from lf_experiments.evaluations import deactivation, perplexity
from lf_experiments.evaluations.deactivation import NOTHING, Deactivation, baseline, perplexity_table
from lf_experiments.evaluations.perplexity import Window, chunked_nll, full_nll, head_can_be_chunked, likelihood, text_windows
from lf_experiments.models.batches import padded
from lf_experiments.models.load import Reader
from lf_experiments.neurons.deactivate import deactivated

DOCUMENTS = [
    "The king reads a book.",
    "老师在学校里教孩子们。每天，医生喝茶。",
    "सुबह लड़का पानी पीता है।",
    "El niño come pan en casa.",
]


def settings(windows: Windows = Windows.joined, window: int | None = 16) -> TextConfig:
    return TextConfig(name="test", source=TextSource.files, windows=windows, window=window)


def nothing(reader: Reader) -> torch.Tensor:
    """The empty region."""
    return torch.zeros(len(reader.sites), reader.num_neurons_per_layer, dtype=torch.bool)


def loss_of_the_model(reader: Reader, ids: list[int]) -> float:
    """Summed negative log-likelihood by transformers' own loss, one window at a time."""
    ids_1T = torch.tensor([ids])
    with torch.no_grad():
        return reader.model(input_ids=ids_1T, labels=ids_1T).loss.double().item() * (len(ids) - 1)


def test_joined_windows_are_equal_and_drop_the_tail(reader: Reader) -> None:
    windows = text_windows(reader, DOCUMENTS, settings(), "en")
    ids = reader.tokenizer("\n\n".join(DOCUMENTS))["input_ids"]
    assert [len(window.ids) for window in windows] == [16] * (len(ids) // 16)
    assert [token for window in windows for token in window.ids] == ids[: 16 * (len(ids) // 16)]


def test_documents_by_themselves_are_cut_only_where_they_are_longer_than_a_window(reader: Reader) -> None:
    windows = text_windows(reader, DOCUMENTS, settings(Windows.documents), "en")
    expected = []
    for document in DOCUMENTS:
        ids = reader.tokenizer(document)["input_ids"]
        expected += [ids[begin : begin + 16] for begin in range(0, len(ids), 16) if len(ids[begin : begin + 16]) > 1]
    assert [window.ids for window in windows] == expected


@pytest.mark.parametrize("text", ["The king reads a book.", "老师在学校里教孩子们。", "सुबह लड़का", "a é 中 🙂 b"])
def test_the_bytes_of_one_long_window_are_those_after_its_first_token(reader: Reader, text: str) -> None:
    (window,) = text_windows(reader, [text], settings(Windows.documents, 1000), "en")
    first = reader.tokenizer.decode(window.ids[:1])
    spelt_out = len(first.encode()) if text.startswith(first) else 0  # a first token that ends inside a character
    assert window.bytes == len(text.encode()) - spelt_out


def test_bytes_add_up_over_the_windows(reader: Reader) -> None:
    text = " ".join(DOCUMENTS * 3)
    windows = text_windows(reader, [text], settings(Windows.documents, 16), "en")
    given = [window.ids[0] for window in windows]
    total = sum(window.bytes for window in windows)
    assert len(text.encode()) - 4 * len(given) <= total < len(text.encode())


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("batch_tokens", [1, 40, 4096])
@pytest.mark.parametrize("kind", list(Windows))
def test_likelihood_is_the_models_own_loss(reader: Reader, kind: Windows, batch_tokens: int, chunked: bool) -> None:
    windows = text_windows(reader, DOCUMENTS, settings(kind, 24), "en")
    found = likelihood(reader, windows, batch_tokens, chunked, nothing(reader))
    expected = sum(loss_of_the_model(reader, window.ids) for window in windows)
    assert found.nll == pytest.approx(expected, rel=1e-5)
    assert found.tokens == sum(len(window.ids) - 1 for window in windows)
    assert found.perplexity == pytest.approx(math.exp(expected / found.tokens), rel=1e-5)
    assert found.bits_per_byte == pytest.approx(expected / math.log(2) / found.bytes, rel=1e-5)


def test_a_model_that_knows_nothing_has_the_vocabulary_as_its_perplexity(reader: Reader) -> None:
    embeddings = reader.model.get_output_embeddings().weight
    kept = embeddings.detach().clone()
    with torch.no_grad():
        embeddings.zero_()
        found = likelihood(reader, [Window([1, 2, 3, 4], 9)], 64, True, nothing(reader))
        embeddings.copy_(kept)
    assert found.perplexity == pytest.approx(reader.model.config.vocab_size, rel=1e-5)


def test_the_head_in_chunks_equals_all_logits_at_once(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perplexity, "CHUNK_LOGITS", 3 * reader.model.config.vocab_size)
    ids_BT, mask_BT = padded([[5, 6, 7, 8, 9, 10, 11, 12], [13, 14, 15]], torch.device("cpu"))
    with torch.no_grad():
        assert chunked_nll(reader.model, ids_BT, mask_BT) == pytest.approx(full_nll(reader.model, ids_BT, mask_BT), rel=1e-6)


def test_the_largest_logits_held_are_those_of_a_chunk(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary, rows = reader.model.config.vocab_size, []
    monkeypatch.setattr(perplexity, "CHUNK_LOGITS", 5 * vocabulary)
    handle = reader.model.get_output_embeddings().register_forward_hook(lambda _, __, logits: rows.append(len(logits)))
    likelihood(reader, [Window(list(range(3, 20)), 1)], 4096, True, nothing(reader))
    handle.remove()
    assert rows == [5, 5, 5, 1]


def test_the_head_can_be_chunked_unless_the_model_changes_its_logits_after_it(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert head_can_be_chunked(reader.model)
    forward = reader.model.forward

    def capped(*args: object, **kwargs: object) -> object:
        output = forward(*args, **kwargs)
        output.logits = torch.tanh(output.logits)
        return output

    monkeypatch.setattr(reader.model, "forward", capped)
    assert not head_can_be_chunked(reader.model)
    assert "changes its logits after the head" in caplog.text


def test_a_text_shorter_than_one_window_is_refused(reader: Reader) -> None:
    with pytest.raises(
        InputError, match=r"(?s)text.window=500: the text in fr is shorter than one window.*text.window below 500"
    ):
        text_windows(reader, DOCUMENTS[:1], settings(window=500), "fr")


def test_a_document_of_one_token_is_refused(reader: Reader) -> None:
    with pytest.raises(InputError, match="documents of two tokens"):
        text_windows(reader, ["a"], settings(Windows.documents), "fr")


def test_a_window_must_be_given_where_the_model_does_not_say(reader: Reader) -> None:
    silent = Reader(reader.model, reader.tokenizer, reader.sites, False, context=None)
    with pytest.raises(InputError, match="text.window=null.*give text.window=TOKENS".replace(".*", "(?s:.*)")):
        text_windows(silent, DOCUMENTS, settings(window=None), "en")


def test_a_window_beyond_the_context_is_warned_of(reader: Reader, caplog: pytest.LogCaptureFixture) -> None:
    narrow = Reader(reader.model, reader.tokenizer, reader.sites, False, context=15)
    text_windows(narrow, DOCUMENTS, settings(window=15), "en")
    assert not caplog.messages
    text_windows(narrow, DOCUMENTS, settings(window=16), "en")
    assert "text.window=16 is more than the 15 tokens" in caplog.text


def test_the_table_holds_every_language_under_every_deactivation(reader: Reader) -> None:
    shape = len(reader.sites), reader.num_neurons_per_layer
    half = torch.zeros(shape, dtype=torch.bool)
    half[:, ::2] = True
    texts = {"en": DOCUMENTS[:1] * 4, "zh": DOCUMENTS[1:2] * 4}
    windows = {language: text_windows(reader, found, settings(), language) for language, found in texts.items()}
    regions = [Deactivation(NOTHING, 0, torch.zeros(shape, dtype=torch.bool)), Deactivation("zh", 0, half)]
    kept: list[int] = []
    table = perplexity_table(reader, regions, windows, 4096, [], lambda cells: kept.append(len(cells)))
    assert kept == [1, 2, 3, 4]
    assert list(table[["deactivated", "language"]].itertuples(index=False, name=None)) == [
        ("none", "en"), ("none", "zh"), ("zh", "en"), ("zh", "zh"),
    ]  # fmt: skip
    with deactivated(reader.sites, half):
        expected = likelihood(reader, windows["en"], 4096, True, nothing(reader))
    assert table.loc[2, "nll"] == expected.nll
    assert table.loc[2, "increase_percent"] == pytest.approx(100 * (expected.perplexity / baseline(table)["en"] - 1))
    assert table.loc[2, "increase_percent"] != 0
    assert (table.loc[:1, "increase_percent"] == 0).all()


def test_cells_that_are_there_are_not_evaluated_again(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = len(reader.sites), reader.num_neurons_per_layer
    regions = [Deactivation(name, 0, torch.zeros(shape, dtype=torch.bool)) for name in (NOTHING, "en", "zh")]
    windows = {language: text_windows(reader, DOCUMENTS * 4, settings(), language) for language in ("en", "zh")}
    stopped_at: list[list[dict]] = []

    def stop_after_three(cells: list[dict]) -> None:
        stopped_at[:] = [list(cells)]
        if len(cells) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        perplexity_table(reader, regions, windows, 4096, [], stop_after_three)
    evaluated = []
    monkeypatch.setattr(deactivation, "likelihood", lambda *arguments: evaluated.append(1) or likelihood(*arguments))
    resumed = perplexity_table(reader, regions, windows, 4096, stopped_at[0], lambda _: None)
    assert len(evaluated) == 3
    whole = perplexity_table(reader, regions, windows, 4096, [], lambda _: None)
    pd.testing.assert_frame_equal(resumed, whole, check_exact=True)


def test_the_window_is_the_context_unless_that_is_very_long(reader: Reader) -> None:
    text = "The king reads. " * 3000
    for context, size in ((40, 40), (8192, 8192), (131_072, 8192)):
        wide = Reader(reader.model, reader.tokenizer, reader.sites, False, context)
        assert {len(window.ids) for window in text_windows(wide, [text], settings(window=None), "en")} == {size}
