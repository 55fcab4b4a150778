"""Stories with two endings as a task of the harness (sec. 4.1, app. B)."""

from __future__ import annotations

from typing import Any

from lf_experiments.corpora.story import Story
from lf_experiments.evaluations.harness import harness_model, quiet_harness
from lf_experiments.evaluations.reading import UNDER, Reading
from lf_experiments.models.load import Reader
from lf_experiments.neurons.interventions import Intervention, Treated

CUE = "The ending in English:"


def prompt(story: Story) -> str:
    """The beginning of a story and the announcement of its ending, joined by spaces, as in the paper's appendix B."""
    return " ".join([*story.sentences, CUE])


def lengths(reader: Reader, stories: list[Story]) -> list[int]:
    """The tokens that the model is given for every story with each of its endings, one after the other."""
    texts = [f"{prompt(story)} {ending}" for story in stories for ending in story.endings]
    return [len(ids) for ids in reader.sequences(texts)]


def harness_samples(reader: Reader, stories: list[Treated], reading: Reading) -> list[dict[str, Any]]:
    """The samples lm_eval logs: `doc_id`, the position of the story, `acc`, and in `filtered_resps` both log-likelihoods."""
    interventions = list({id(under): under for _, under in stories}.values())
    import lm_eval
    from lm_eval.tasks import TaskManager

    with quiet_harness():
        tasks = TaskManager(include_defaults=False).load([task(stories, interventions)])
        lm = harness_model(reader, reading, interventions)
        return lm_eval.evaluate(lm=lm, task_dict=tasks, bootstrap_iters=0)["samples"]["cloze"]


def task(stories: list[Treated], interventions: list[Intervention]) -> dict[str, Any]:
    """The stories as a task of the harness that needs neither files nor network; `interventions` are theirs."""
    from datasets import Dataset

    number = {id(intervention): number for number, intervention in enumerate(interventions)}
    rows = [
        {"prompt": prompt(story), "endings": list(story.endings), "right": story.right, UNDER: number[id(under)]}
        for story, under in stories
    ]
    return {
        "task": "cloze",
        "dataset_path": "in-memory",
        "custom_dataset": lambda **_: {"test": Dataset.from_list(rows)},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "prompt",
        "doc_to_choice": "endings",
        "doc_to_target": "right",
        "target_delimiter": " ",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
