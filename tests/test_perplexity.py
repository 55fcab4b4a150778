"""Perplexity: windows as the paper cuts them, likelihoods against the model's own loss, and the head in chunks."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from scored import likelihood

from lf_experiments.config.schema import TextConfig, Windows
from lf_experiments.errors import InputError
from lf_experiments.evaluations import losses, perplexity
from lf_experiments.evaluations.cells import IDENTITY, KeptCells
from lf_experiments.evaluations.losses import (
    chunked_scores,
    full_scores,
    head_can_be_chunked,
    negative_log_likelihood,
    predicted_tokens,
    window_nll,
)
from lf_experiments.evaluations.perplexity import (
    baseline,
    log_ratios,
    measure_perplexity,
    perplexity_table,
    warn_of_few_windows,
    window_table,
)
from lf_experiments.evaluations.windows import Window, spread, text_windows
from lf_experiments.models.batches import padded
from lf_experiments.models.load import Reader
from lf_experiments.neurons.interventions import NONE, Intervention, Treated, nothing
from lf_experiments.runs.tables import read_json, read_table, write_csv
from lf_experiments.storage import write_json

DOCUMENTS = [
    "The king reads a book.",
    "老师在学校里教孩子们。每天，医生喝茶。",
    "सुबह लड़का पानी पीता है।",
    "El niño come pan en casa.",
]


def settings(windows: Windows = Windows.joined, window: int | None = 16) -> TextConfig:
    return TextConfig(name="test", source="files", windows=windows, window=window)


def half_off(reader: Reader, name: str = "zh") -> Intervention:
    """Every other neuron off."""
    return Intervention(name, [torch.arange(width) % 2 == 0 for width in reader.widths])


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


@pytest.mark.parametrize(("there", "count", "places"), [(9, 3, [1, 4, 7]), (10, 1, [5]), (4, 2, [1, 3]), (5, 4, [0, 1, 3, 4])])
def test_so_many_windows_are_spread_evenly_over_the_text(there: int, count: int, places: list[int]) -> None:
    windows = [Window([0, place], 1) for place in range(there)]
    assert spread(windows, count) == [windows[place] for place in places]


def test_a_text_keeps_so_many_of_its_windows(reader: Reader) -> None:
    every = text_windows(reader, DOCUMENTS, settings(), "en")
    assert len(every) > 3
    assert text_windows(reader, DOCUMENTS, replace(settings(), window_count=3), "en") == spread(every, 3)
    for count in (len(every), len(every) + 5, None):
        assert text_windows(reader, DOCUMENTS, replace(settings(), window_count=count), "en") == every


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
    found = likelihood(reader, windows, batch_tokens, chunked)
    expected = sum(loss_of_the_model(reader, window.ids) for window in windows)
    assert found.nll == pytest.approx(expected, rel=1e-5)
    assert found.tokens == sum(len(window.ids) - 1 for window in windows)
    assert found.perplexity == pytest.approx(math.exp(expected / found.tokens), rel=1e-5)
    assert found.bits_per_byte == pytest.approx(expected / math.log(2) / found.bytes, rel=1e-5)


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("batch_tokens", [1, 40, 4096])
def test_every_window_has_the_models_own_loss(reader: Reader, batch_tokens: int, chunked: bool) -> None:
    windows = text_windows(reader, DOCUMENTS, settings(Windows.documents, 24), "en")
    assert len({len(window.ids) for window in windows}) > 2
    found = likelihood(reader, windows, batch_tokens, chunked)
    assert found.nll_W == pytest.approx([loss_of_the_model(reader, window.ids) for window in windows], rel=1e-5)
    assert found.nll == pytest.approx(sum(found.nll_W), rel=1e-12)


def test_the_windows_sum_to_the_batch_as_it_was_summed_before(reader: Reader) -> None:
    """In float64, whatever the order: to 1e-9 of themselves. The model too, since processors round float32 apart."""
    windows = [Window(ids, 1) for ids in (list(range(3, 20)), [5, 6, 7], list(range(30, 41)))]
    ids_BT, mask_BT = padded([window.ids for window in windows], torch.device("cpu"))
    reader.model.double()
    with torch.no_grad():
        logits_BTV = reader.model(input_ids=ids_BT, attention_mask=mask_BT).logits
        predicted_BT = mask_BT[:, 1:].bool()
        nll_P = torch.nn.functional.cross_entropy(
            logits_BTV[:, :-1][predicted_BT].float(), ids_BT[:, 1:][predicted_BT], reduction="none"
        )
    found = likelihood(reader, windows, 4096, False).nll
    reader.model.float()
    assert found == pytest.approx(nll_P.sum(dtype=torch.float64).item(), rel=1e-9)


def test_a_model_that_knows_nothing_has_the_vocabulary_as_its_perplexity(reader: Reader) -> None:
    embeddings = reader.model.get_output_embeddings().weight
    kept = embeddings.detach().clone()
    with torch.no_grad():
        embeddings.zero_()
        found = likelihood(reader, [Window([1, 2, 3, 4], 9)], 64, True)
        embeddings.copy_(kept)
    assert found.perplexity == pytest.approx(reader.model.config.vocab_size, rel=1e-5)


def test_the_head_in_chunks_equals_all_logits_at_once(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "CHUNK_LOGITS", 3 * reader.model.config.vocab_size)
    windows = [Window([5, 6, 7, 8, 9, 10, 11, 12], 1), Window([13, 14, 15], 1)]
    batch = padded([window.ids for window in windows], torch.device("cpu"))
    predicted = predicted_tokens(list(enumerate(windows)))
    with torch.no_grad():
        in_chunks, whole = (
            scores(reader.model, *batch, predicted, negative_log_likelihood) for scores in (chunked_scores, full_scores)
        )
    assert len(whole) == 7 + 2
    torch.testing.assert_close(in_chunks, whole, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("batch_tokens", [1, 40, 4096])
def test_windows_of_one_batch_are_read_each_under_its_own_intervention(
    reader: Reader, batch_tokens: int, chunked: bool
) -> None:
    windows = text_windows(reader, DOCUMENTS, settings(Windows.documents, 24), "en")
    half = half_off(reader)
    off = [nothing(reader.widths), half, replace(half, dose=0.5), replace(half, kind="scale")]
    rows = [Treated(window, under) for window in windows for under in off]
    found = dict(window_nll(reader, rows, batch_tokens, chunked))
    expected = []
    for window, under in rows:
        with reader.intervened(under):
            expected.append(loss_of_the_model(reader, window.ids))
    assert [found[position] for position in range(len(rows))] == pytest.approx(expected, rel=1e-5)
    assert len({round(nll, 3) for nll in expected[:4]}) == 4


def test_of_windows_that_differ_in_their_last_token_alone_one_is_read(reader: Reader) -> None:
    read: list[int] = []
    handle = reader.model.base_model.register_forward_pre_hook(
        lambda _, __, given: read.append(len(given["input_ids"])), with_kwargs=True
    )
    windows = [Window([5, 6, 7, last], 1, given) for given in (1, 3) for last in (8, 9)] + [Window([5, 6, 7, 8, 9], 1)]
    found = likelihood(reader, windows, 4096, True)
    handle.remove()
    assert read == [2]
    losses_of_model = [loss_of_the_model(reader, window.ids) for window in windows]
    before_last = loss_of_the_model(reader, [5, 6, 7])
    expected = losses_of_model[:2] + [losses_of_model[at] - before_last for at in (0, 1)] + losses_of_model[4:]
    assert found.nll_W == pytest.approx(expected, rel=1e-5)


def test_a_head_that_cannot_be_chunked_holds_no_more_logits_than_meant(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    handle = reader.model.register_forward_hook(lambda _, __, output: held.append(output.logits.numel()))
    monkeypatch.setattr(losses, "HELD_LOGITS", 20 * reader.model.config.vocab_size)
    likelihood(reader, [Window(list(range(3, 12)), 1)] * 3 + [Window(list(range(4, 9)), 1)] * 3, 4096, False)
    handle.remove()
    assert max(held) <= 20 * reader.model.config.vocab_size


def test_the_largest_logits_held_are_those_of_a_chunk(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary, rows = reader.model.config.vocab_size, []
    monkeypatch.setattr(losses, "CHUNK_LOGITS", 5 * vocabulary)
    handle = reader.model.get_output_embeddings().register_forward_hook(lambda _, __, logits: rows.append(len(logits)))
    likelihood(reader, [Window(list(range(3, 20)), 1)], 4096, True)
    handle.remove()
    assert rows == [5, 5, 5, 1]


def test_the_head_can_be_chunked_unless_the_model_changes_its_logits_after_it(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert head_can_be_chunked(reader)
    forward = reader.model.forward

    def capped(*args: object, **kwargs: object) -> object:
        output = forward(*args, **kwargs)
        output.logits = torch.tanh(output.logits)
        return output

    monkeypatch.setattr(reader.model, "forward", capped)
    assert not head_can_be_chunked(reader)
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
    silent = Reader(reader.model, reader.tokenizer, reader.sites, [], context=None)
    with pytest.raises(InputError, match="text.window=null.*give text.window=TOKENS".replace(".*", "(?s:.*)")):
        text_windows(silent, DOCUMENTS, settings(window=None), "en")


def test_a_window_beyond_the_context_is_warned_of(reader: Reader, caplog: pytest.LogCaptureFixture) -> None:
    narrow = Reader(reader.model, reader.tokenizer, reader.sites, [], context=15)
    text_windows(narrow, DOCUMENTS, settings(window=15), "en")
    assert not caplog.messages
    text_windows(narrow, DOCUMENTS, settings(window=16), "en")
    assert "text.window=16 is more than the 15 tokens" in caplog.text


def test_the_table_holds_every_language_under_every_deactivation(reader: Reader) -> None:
    texts = {"en": DOCUMENTS[:1] * 4, "zh": DOCUMENTS[1:2] * 4}
    windows = {language: text_windows(reader, found, settings(), language) for language, found in texts.items()}
    regions = [nothing(reader.widths), half_off(reader)]
    kept: list[int] = []
    table = perplexity_table(
        measure_perplexity(reader, regions, windows, 4096, KeptCells(keep=lambda cells: kept.append(len(cells))))
    )
    assert kept == [1, 1, 1, 1]
    assert list(table[["deactivated", "language"]].itertuples(index=False, name=None)) == [
        ("none", "en"), ("none", "zh"), ("zh", "en"), ("zh", "zh"),
    ]  # fmt: skip
    with reader.intervened(half_off(reader)):
        expected = likelihood(reader, windows["en"], 4096, True)
    assert table.loc[2, "nll"] == expected.nll
    assert table.loc[2, "increase_percent"] == pytest.approx(100 * (expected.perplexity / baseline(table)["en"] - 1))
    assert table.loc[2, "increase_percent"] != 0
    assert (table.loc[:1, "increase_percent"] == 0).all()


def test_cells_that_are_there_are_not_evaluated_again(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    regions = [Intervention(name, nothing(reader.widths).where_L_N) for name in (NONE, "en", "zh")]
    windows = {language: text_windows(reader, DOCUMENTS * 4, settings(), language) for language in ("en", "zh")}
    left: list[dict] = []

    def stop_after_three(cell: list[dict]) -> None:
        left.extend(cell)
        if len(left) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_perplexity(reader, regions, windows, 4096, KeptCells(keep=stop_after_three))
    evaluated = []
    monkeypatch.setattr(perplexity, "window_nll", lambda _, rows, *more: evaluated.extend(rows) or window_nll(_, rows, *more))
    resumed = measure_perplexity(reader, regions, windows, 4096, KeptCells(left))
    assert len(evaluated) == 3 * len(windows["en"])
    whole = measure_perplexity(reader, regions, windows, 4096, KeptCells())
    pd.testing.assert_frame_equal(resumed, whole, check_exact=True)


def test_the_table_has_the_columns_of_the_run_folder(reader: Reader) -> None:
    windows = {"en": text_windows(reader, DOCUMENTS * 4, settings(Windows.documents), "en")}
    off = [nothing(reader.widths), half_off(reader), replace(half_off(reader), dose=0.5)]
    cells = measure_perplexity(reader, off, windows, 4096, KeptCells())
    table, by_window = perplexity_table(cells), window_table(cells, windows)
    assert list(table.columns) == [
        *IDENTITY, "perplexity", "increase_percent", "nll", "tokens", "bytes", "bits_per_byte",
    ]  # fmt: skip
    assert list(by_window.columns) == ["deactivated", "draw", "matches", "dose", "language", "window", "nll", "tokens", "bytes"]
    assert table["perplexity"].is_unique
    assert list(by_window["window"]) == 3 * list(range(len(windows["en"])))
    summed = by_window.groupby(list(IDENTITY), sort=False)[["nll", "tokens", "bytes"]].sum()
    pd.testing.assert_frame_equal(summed.reset_index(drop=True), table[["nll", "tokens", "bytes"]], rtol=1e-12)
    assert by_window.loc[0, "nll"] == pytest.approx(loss_of_the_model(reader, windows["en"][0].ids), rel=1e-5)


def test_intervals_are_those_of_the_windows_in_pairs(reader: Reader) -> None:
    windows = {"en": text_windows(reader, DOCUMENTS * 4, settings(Windows.documents), "en")}
    cells = measure_perplexity(reader, [nothing(reader.widths), half_off(reader)], windows, 4096, KeptCells())
    found, none = log_ratios(cells, windows, 0.9), log_ratios(cells, windows, None)
    table = perplexity_table(cells)
    assert found["log_ratio"].tolist() == pytest.approx([0, math.log(table["perplexity"][1] / table["perplexity"][0])])
    tokens = np.array([window.tokens for window in windows["en"]])
    rise_W = np.array(cells["nll_by_window"][1]) - np.array(cells["nll_by_window"][0])
    count = len(tokens)
    residual_W = rise_W - rise_W.sum() / tokens.sum() * tokens
    error = math.sqrt(count / (count - 1) * (residual_W**2).sum()) / tokens.sum()
    reach = stats.t.ppf(0.95, count - 1) * error
    assert found[["lo", "hi"]].loc[1].tolist() == pytest.approx([found["log_ratio"][1] - reach, found["log_ratio"][1] + reach])
    assert found[["lo", "hi"]].loc[0].isna().all()
    assert none[["lo", "hi"]].isna().all(axis=None)
    assert none["log_ratio"].equals(found["log_ratio"])


def test_a_text_of_few_windows_is_named_and_one_window_has_no_interval(
    caplog: pytest.LogCaptureFixture, reader: Reader
) -> None:
    windows = {"en": [Window([1, 2, 3], 3)] * 12, "fr": [Window([1, 2, 3], 3)] * 9}
    warn_of_few_windows({"en": windows["en"]})
    assert not caplog.messages
    warn_of_few_windows(windows)
    warn_of_few_windows(windows | {"zh": windows["en"][:1]})
    asked = "give more text, or a smaller text.window"
    assert caplog.messages == [
        f"intervals of perplexity rest on fewer than 10 windows of text in fr (9): {asked}",
        f"intervals of perplexity rest on fewer than 10 windows of text in fr (9), zh (1); of a single window there is none: "
        f"{asked}",
    ]
    one = {"en": windows["en"][:1]}
    cells = measure_perplexity(reader, [nothing(reader.widths), half_off(reader)], one, 4096, KeptCells())
    assert log_ratios(cells, one, 0.95)[["lo", "hi"]].isna().all(axis=None)


def test_cells_survive_json_with_their_windows(reader: Reader) -> None:
    windows = {"en": text_windows(reader, DOCUMENTS * 4, settings(), "en")}
    left: list[dict] = []
    full = [nothing(reader.widths)]
    cells = measure_perplexity(
        reader, full, windows, 4096, KeptCells(keep=lambda rows: left.extend(json.loads(json.dumps(rows))))
    )
    again = measure_perplexity(reader, full, windows, 4096, KeptCells(left))
    pd.testing.assert_frame_equal(window_table(again, windows), window_table(cells, windows), check_exact=True)


@pytest.mark.parametrize("damage", [math.nan, math.inf])
def test_logits_that_are_not_finite_are_refused(load, model_folder: Path, damage: float) -> None:
    reader = load(model_folder)
    windows = {language: text_windows(reader, DOCUMENTS, settings(), language) for language in ("en", "fr")}
    half = half_off(reader)
    assert len(measure_perplexity(reader, [half], windows, 4096, KeptCells())) == 2
    with torch.no_grad():
        norm = list(reader.model.base_model.children())[-1] if hasattr(reader.model.base_model, "ln_f") else None
        (norm or reader.model.base_model.norm).weight.fill_(damage)
    with pytest.raises(InputError, match=r"intervention zh \(zero, dose 1\) gives NaN or infinite logits on the text in en"):
        measure_perplexity(reader, [half], windows, 4096, KeptCells())


def test_a_padding_token_with_infinite_embeddings_spoils_no_other(load, model_folders: dict[str, Path]) -> None:
    reader = load(model_folders["llama"])
    windows = [Window(list(range(5, 25)), 20), Window([5, 6, 7], 2)]
    expected = likelihood(reader, windows, 4096, True)
    with torch.no_grad():
        reader.model.get_input_embeddings().weight[0] = math.inf
    assert not reader.model.config.tie_word_embeddings
    assert likelihood(reader, windows, 4096, True).nll_W == pytest.approx(expected.nll_W, rel=1e-6)


def test_a_perplexity_beyond_the_largest_float_is_infinite_and_can_be_written(tmp_path: Path) -> None:
    assert perplexity.perplexity(7000.0, 10) == pytest.approx(math.exp(700))
    assert perplexity.perplexity(8000.0, 10) == math.inf
    names = {"draw": 0, "matches": "", "dose": 1.0, "tokens": 10, "bytes": 20}
    cells = [
        {**names, "deactivated": NONE, "language": "en", "nll": 20.0},
        {**names, "deactivated": NONE, "language": "fr", "nll": 8000.0},
        {**names, "deactivated": "fr", "language": "en", "nll": 8000.0},
    ]
    table = perplexity_table(pd.DataFrame(cells))
    assert table["perplexity"].tolist() == [math.exp(2), math.inf, math.inf]
    assert table["increase_percent"].tolist() == pytest.approx([0, math.nan, math.inf], nan_ok=True)
    write_csv(table, tmp_path / "perplexity.csv")
    assert read_table(tmp_path / "perplexity.csv")["perplexity"].tolist()[1] == math.inf
    write_json(tmp_path / "metrics.json", baseline(table))
    assert read_json(tmp_path / "metrics.json") == {"en": math.exp(2), "fr": sys.float_info.max}


def test_a_window_much_longer_than_a_batch_is_named_before_it_is_read(
    reader: Reader, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = {"en": text_windows(reader, DOCUMENTS, settings(), "en"), "fr": [Window(list(range(3, 44)), 40)]}
    measure_perplexity(reader, [nothing(reader.widths)], windows, 11, KeptCells())
    assert not caplog.messages
    monkeypatch.setattr(perplexity, "head_can_be_chunked", lambda _: pytest.fail("read"))
    with pytest.raises(pytest.fail.Exception, match="read"):
        measure_perplexity(reader, [nothing(reader.widths)], windows, 10, KeptCells())
    assert caplog.messages == [
        "A window of the text in fr has 41 tokens, the most of any window and 4 times runtime.batch_tokens=10: it is read "
        "alone, and may need more memory than there is"
    ]


def test_the_window_is_the_context_unless_that_is_very_long(reader: Reader) -> None:
    text = "The king reads. " * 3000
    for context, size in ((40, 40), (8192, 8192), (131_072, 8192)):
        wide = Reader(reader.model, reader.tokenizer, reader.sites, [], context)
        assert {len(window.ids) for window in text_windows(wide, [text], settings(window=None), "en")} == {size}
