"""Every architecture that has a plan for tensor parallelism: two processes that share its layers find what one finds (slow)."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from test_families import CASES, tiny_config, tiny_model

from lf_experiments.config.schema import Dtype, ModelConfig
from lf_experiments.evaluations.cells import KeptCells
from lf_experiments.evaluations.perplexity import measure_perplexity
from lf_experiments.evaluations.windows import Window
from lf_experiments.models import team as team_module
from lf_experiments.models.load import Reader
from lf_experiments.models.shards import leave
from lf_experiments.models.team import assemble_team
from lf_experiments.models.tensor_plans import sharding_problem
from lf_experiments.models.workers import Worker, start_workers
from lf_experiments.neurons.capture import capture
from lf_experiments.neurons.interventions import Intervention, nothing
from lf_experiments.neurons.words import written_words

pytestmark = pytest.mark.slow

GIVEN_ALL = {"glm", "glm4", "phi3"}
"""Those whose second matrix is given all neurons: the first one makes both halves of each, which belong together."""


def can_be_shared(name: str) -> bool:
    model_type, settings = CASES[name]
    return not sharding_problem(tiny_config(model_type, **settings), 2)


@pytest.fixture(scope="module")
def workers() -> Iterator[list[Worker]]:
    """One process beside this one, for all architectures; another one after a failure."""
    workers: list[Worker] = start_workers(1)
    yield workers
    for worker in workers:
        worker.end()


@pytest.mark.parametrize("name", [name for name in CASES if can_be_shared(name)])
def test_two_processes_find_what_one_finds(
    name: str,
    workers: list[Worker],
    awakened: Callable,
    tokenizer,
    tmp_path: Path,
    sentences: list[str],
    load: Callable[..., Reader],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model_type, settings = CASES[name]
    awakened(tiny_model(model_type, **settings)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    if not workers[0].process.is_alive():
        workers[:] = start_workers(1)
    monkeypatch.setattr(team_module, "start_workers", lambda _: workers)
    alone = load(tmp_path)
    team = assemble_team(tmp_path, ModelConfig(name=name, path=str(tmp_path), dtype=Dtype.float32), 1, 2)
    try:
        assert {site.is_whole for site in team.sites} == {model_type in GIVEN_ALL}
        assert team.num_parameters == alone.num_parameters
        pools = ("mean", "gate_rate", "impact", "attribution")
        together, apart = (capture(reader, sentences[:5], 300, pools) for reader in (team, alone))
        for pool in pools:
            largest = max(float(h_SN.abs().max()) for h_SN in apart[pool])
            for found_SN, expected_SN in zip(together[pool], apart[pool], strict=True):
                torch.testing.assert_close(found_SN / largest, expected_SN / largest, rtol=0, atol=5e-6, msg=pool)
        third_off = Intervention("en", [torch.arange(width) % 3 == 0 for width in alone.widths])
        windows = {"en": [Window(list(range(start, start + 12)), 30) for start in range(3)]}
        asked = [nothing(alone.widths), third_off], windows, 36, KeptCells()
        found, expected = (measure_perplexity(reader, *asked) for reader in (team, alone))
        pd.testing.assert_frame_equal(found, expected, check_exact=False, rtol=1e-6)
        layers, neurons = [0, 0, 1], [0, alone.widths[0] - 1, 2]
        assert team.ask(written_words, layers, neurons) == written_words(alone, layers, neurons)
    finally:
        leave()
