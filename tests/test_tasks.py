"""Tasks of lm_eval: scores by the formula, under interventions, resumed, shared; and names, data and code that are refused."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from lm_eval.tasks import TaskManager
from scipy import stats

from lf_experiments.config.schema import Dtype, ModelConfig
from lf_experiments.errors import InputError
from lf_experiments.evaluations import task_index, tasks
from lf_experiments.evaluations.cells import KeptCells
from lf_experiments.evaluations.reading import Reading
from lf_experiments.evaluations.task_index import load_tasks, task_names
from lf_experiments.evaluations.tasks import harness_results, in_order, measure_tasks, metric_rows, task_table
from lf_experiments.models.load import Reader
from lf_experiments.models.team import Team, assemble_team
from lf_experiments.neurons.interventions import RANDOM, Intervention, Treated, nothing

QUESTIONS = [
    {"question": "El niño come pan. Luego bebe té.", "choices": ["He goes out.", "The sea sings."], "answer": 0},
    {"question": "孩子在花园里看书。下雨了。", "choices": ["He closes the door.", "He closes the book."], "answer": 1},
    {"question": "L'enfant lit. Il boit.", "choices": ["It falls on the horse.", "It falls on the house."], "answer": 0},
    {"question": "No. Yes.", "choices": ["He runs.", "He sits.", "He eats."], "answer": 2},
    {"question": "बच्चा पुल के पास है।", "choices": ["A book.", "A door."], "answer": 0},
]

CHOICE = """
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: multiple_choice
doc_to_text: question
doc_to_choice: choices
doc_to_target: answer
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""
CORRELATION = """
  - metric: mcc
    aggregation: matthews_corrcoef
    higher_is_better: true
"""
EXAMPLES = """
num_fewshot: 2
fewshot_split: test
"""
CONTINUATION = """
task: continuation
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: generate_until
doc_to_text: question
doc_to_target: continuation
generation_kwargs:
  max_gen_toks: 6
  do_sample: false
  until: []
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, QUESTIONS)))
    return path


@pytest.fixture
def task(tmp_path: Path, data: Path) -> Callable[..., str]:
    """Writes a task file and returns its path: `task("reading", CORRELATION)`."""

    def write(name: str = "reading", more: str = "", text: str = CHOICE, data: Path = data) -> str:
        path = tmp_path / f"{name}.yaml"
        path.write_text(text.format(name=name, data=data) + more)
        return str(path)

    return write


def half_off(reader: Reader) -> Intervention:
    """Every other neuron off."""
    return Intervention("zh", [torch.arange(width) % 2 == 0 for width in reader.widths])


def random_off(reader: Reader, seed: int) -> Intervention:
    """Half of all neurons off, drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    return Intervention(RANDOM, [torch.rand(width, generator=generator) < 0.5 for width in reader.widths], draw=seed)


@torch.no_grad()
def log_likelihood(reader: Reader, question: str, choice: str) -> float:
    """The sum of log p(token | what stands before it) over the tokens of the choice, in float64."""
    before, ids = len(reader.token_ids([question])[0]), reader.token_ids([f"{question} {choice}"])[0]
    log_p_TV = reader.model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(dim=1)
    return sum(log_p_TV[place - 1, ids[place]].item() for place in range(before, len(ids)))


def accuracy(reader: Reader) -> float:
    """How often the answer is the likeliest choice, by the formula."""
    right = 0
    for each in QUESTIONS:
        likelihoods = [log_likelihood(reader, each["question"], choice) for choice in each["choices"]]
        right += likelihoods.index(max(likelihoods)) == each["answer"]
    return right / len(QUESTIONS)


def measured(reader: Reader, names: list[str], interventions: list[Intervention] | None = None, batch_tokens: int = 4096):
    return measure_tasks(reader, interventions or [nothing(reader.widths)], names, batch_tokens, KeptCells())


@pytest.mark.parametrize("batch_tokens", [1, 4096])
def test_accuracy_is_that_of_the_formula_under_every_intervention(
    reader: Reader, task: Callable[..., str], batch_tokens: int
) -> None:
    off = [nothing(reader.widths), *(random_off(reader, seed) for seed in range(6))]
    found = task_table(measured(reader, [task()], off, batch_tokens), 0.95)
    assert list(found.columns) == [
        *("task", "deactivated", "draw", "dose", "metric", "value", "stderr", "items"),
        *("lo", "hi", "difference", "difference_lo", "difference_hi"),
    ]
    wilson = [stats.binomtest(round(5 * value), 5).proportion_ci(0.95, "wilson") for value in found["value"]]
    assert found["lo"].tolist() == pytest.approx([interval.low for interval in wilson])
    assert found["difference"].tolist() == pytest.approx([math.nan, *(found["value"] - found["value"][0])[1:]], nan_ok=True)
    assert (found["difference_lo"] <= found["difference"])[1:].all()
    expected = []
    for intervention in off:
        with reader.intervened(intervention):
            expected.append(accuracy(reader))
    assert len(set(expected)) > 1
    assert found["value"].tolist() == expected
    assert found["stderr"].tolist() == pytest.approx([math.sqrt(p * (1 - p) / 4) for p in expected])
    assert list(found["deactivated"]) == ["none"] + 6 * ["random"]
    assert list(found["draw"]) == [0, *range(6)]
    assert (found[["task", "metric", "items"]] == ["reading", "acc", 5]).all(axis=None)


def test_every_metric_has_a_row_and_examples_are_the_same_every_time(
    reader: Reader, task: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "BOOTSTRAP_DRAWS", 20)  # each takes the harness some milliseconds
    name = task("examples", CORRELATION + EXAMPLES)
    first, again = (measured(reader, [name]) for _ in range(2))
    assert list(first["metric"]) == ["acc", "mcc"]
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    loaded = [load_tasks(name), load_tasks(name)]
    prompts = [prompts_of(reader, tasks_of_a_run) for tasks_of_a_run in (*loaded, loaded[0])]
    assert prompts[0] == prompts[1] == prompts[2]
    assert any(prompts[0][0][0].startswith(each["question"]) for each in QUESTIONS[1:])


def prompts_of(reader: Reader, loaded: dict) -> list[list[str]]:
    """What was asked, question by question and choice by choice."""
    samples = harness_results(reader, loaded, Reading(4096, True, True, rows=4))["samples"]["examples"]
    return [[prompt for prompt, _ in sample["arguments"]] for sample in samples]


def test_a_group_has_rows_for_its_tasks_and_for_itself(
    reader: Reader, task: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [Path(task(name)).stem for name in ("one", "two")]
    group = {"group": "both", "task": parts, "aggregate_metric_list": [{"metric": "acc", "weight_by_size": True}]}
    (tmp_path / "both.yaml").write_text(json.dumps(group))
    manager = TaskManager(include_defaults=False, include_path=tmp_path)
    monkeypatch.setattr(task_index, "task_manager", lambda **_: manager)
    found = task_table(measured(reader, ["both"]), 0.95)
    assert list(found["task"]) == ["one", "two", "both"]
    assert found["value"].tolist() == [accuracy(reader)] * 3
    assert found["items"].tolist()[:2] == [5, 5]


def test_continuations_follow_nothing_of_the_models_own_settings_but_what_ends_a_text(
    load: Callable[..., Reader], model_folder: Path, task: Callable[..., str], tmp_path: Path
) -> None:
    reader = load(model_folder)
    data = tmp_path / "continuations.jsonl"
    data.write_text(
        "\n".join(json.dumps({"question": text, "continuation": greedy(reader, text)}) for text in ("x", "No.", "水"))
    )
    name = task("continuation", text=CONTINUATION, data=data)
    assert measured(reader, [name])["value"].tolist() == [1.0]
    reader.model.generation_config.repetition_penalty = 5.0
    assert measured(reader, [name])["value"].tolist() == [1.0]
    reader.model.generation_config.eos_token_id = greedy_ids(reader, "x")[1]
    assert measured(reader, [name])["value"].tolist() != [1.0], "what ends a text ends it here too"
    reader.model.generation_config.eos_token_id = None
    assert measured(reader, [name], [half_off(reader)])["value"].tolist() != [1.0]


def greedy(reader: Reader, text: str) -> str:
    """The text of the six likeliest tokens after another."""
    return reader.tokenizer.decode(greedy_ids(reader, text))


@torch.no_grad()
def greedy_ids(reader: Reader, text: str) -> list[int]:
    """The six likeliest tokens after a text, one by one."""
    ids = reader.token_ids([text])[0]
    new: list[int] = []
    while len(new) < 6:
        new.append(int(reader.model(torch.tensor([ids + new])).logits[0, -1].argmax()))
    return new


@pytest.mark.slow
def test_tasks_that_are_there_are_not_run_again(
    reader: Reader, task: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names, off, left = [task("one", CORRELATION), task("two")], [nothing(reader.widths), half_off(reader)], []

    def stop_after_three(rows: list[dict]) -> None:
        left.append(rows)
        if len(left) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_tasks(reader, off, names, 4096, KeptCells(keep=stop_after_three))
    whole, ran, run_task = measured(reader, names, off), [], tasks.run_task
    monkeypatch.setattr(tasks, "run_task", lambda *arguments: ran.append(arguments[1]) or run_task(*arguments))
    resumed = measure_tasks(reader, off, names, 4096, KeptCells(json.loads(json.dumps(sum(left, [])))))
    assert ran == names[1:]
    pd.testing.assert_frame_equal(resumed, whole, check_exact=True)


@pytest.mark.slow
@pytest.mark.parametrize(("copies", "shards"), [(2, 1), (1, 2)])
def test_the_copies_of_a_team_take_whole_tasks(
    copies: int, shards: int, model_folders: dict[str, Path], load: Callable[..., Reader], task: Callable[..., str]
) -> None:
    """With a metric whose standard error the harness would draw in processes that a worker cannot start."""
    names = [task("one", CORRELATION), task("two", CORRELATION), task("three")]
    alone = load(model_folders["bloom"])
    team = assemble_team(model_folders["bloom"], ModelConfig(name="x", path="x", dtype=Dtype.float32), copies, shards)
    try:
        assert isinstance(team, Team)
        off = [half_off(alone)]
        pd.testing.assert_frame_equal(measured(team, names, off), measured(alone, names, off), rtol=1e-6)
    finally:
        team.end()


def test_results_are_put_in_order_as_soon_as_they_can_be() -> None:
    seen: list[int] = []

    def results():
        for position in (2, 0, 1, 3):
            seen.append(position)
            yield position, position * 10

    found = [(name, result, len(seen)) for name, result in in_order(["a", "b", "c", "d"], results())]
    assert found == [("a", 0, 2), ("b", 10, 3), ("c", 20, 3), ("d", 30, 4)]
    assert list(in_order([], iter([]))) == []


def test_nothing_is_printed(
    reader: Reader, task: Callable[..., str], capfd: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    list(tasks.run_tasks(reader, [Treated(task("quiet", CORRELATION + EXAMPLES), nothing(reader.widths))], Reading(4096, True)))
    assert capfd.readouterr() == ("", "")
    assert not caplog.messages


@pytest.mark.parametrize("value", [math.nan, math.inf, "N/A", None, " "])
def test_what_is_no_finite_number_is_empty(value: object) -> None:
    scores = {"alias": "x", "acc,none": value, "acc_stderr,none": "N/A", "exact,strict": 1, "sample_len": 7}
    by_item = {("x", "acc,none"): [0.0, 1.0], ("x", "exact,strict"): [1.0, 1.0]}
    assert metric_rows("x", scores, by_item) == [
        {"task": "x", "metric": "acc", "value": None, "stderr": None, "by_item": None, "items": 7},
        {"task": "x", "metric": "exact,strict", "value": 1.0, "stderr": None, "by_item": [1.0, 1.0], "items": 7},
    ]


def test_a_metric_that_is_no_mean_over_items_is_not_paired() -> None:
    scores = {"f1,none": 0.8, "sample_len": 2}
    (row,) = metric_rows("x", scores, {("x", "f1,none"): [0.0, 1.0]})
    assert row["by_item"] is None


# What is refused ------------------------------------------------------------------------------------------------------


def test_logits_that_are_not_finite_are_refused(
    load: Callable[..., Reader], model_folder: Path, task: Callable[..., str]
) -> None:
    reader = load(model_folder)
    reader.model.get_output_embeddings().weight.data[7] = math.nan
    with pytest.raises(InputError, match=r"(?s)model.dtype.*the model gives NaN or infinite logits on the task .*reading.yaml"):
        measured(reader, [task()])


@pytest.mark.slow
def test_names_are_those_of_the_harness() -> None:
    assert task_names(["belebele_fra_Latn", "xnli_fr", "belebele_fra_Latn"]) == ["belebele_fra_Latn", "xnli_fr"]
    assert task_names(["belebele"]) == ["belebele"]  # a group is run as one
    tagged = task_names(["ai2_arc"])
    assert tagged == ["arc_challenge", "arc_easy"]  # a tag stands for its tasks
    with pytest.raises(
        InputError, match=r"tasks=belebele_fra: lm_eval has no task of this name\nRemedy: similar.*belebele_fra_Latn"
    ):
        task_names(["belebele_fra"])
    with pytest.raises(InputError, match="lm_eval ls tasks"):
        task_names(["0123456789"])


def test_a_file_is_named_by_its_full_path(task: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(task())
    monkeypatch.chdir(path.parent)
    assert task_names(["reading.yaml", str(path)]) == [str(path)]
    with pytest.raises(InputError, match="tasks=writing.yaml: there is no such file"):
        task_names(["writing.yaml"])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("dataset_path: [", "lm_eval cannot load it: .*Remedy: check that its data can be reached"),
        ("\ndataset_path: nobody/has-this", "lm_eval cannot load it: "),
        ("\nunsafe_code: true", "it runs code that the model writes"),
    ],
)
def test_tasks_that_cannot_or_must_not_be_run_are_refused(task: Callable[..., str], more: str, said: str) -> None:
    with pytest.raises(InputError, match=f"(?s)tasks=.*reading.yaml: {said}"):
        load_tasks(task(more=more))
