"""The study: the method section of the paper, a file per stage.

1. capture     sentences -> neurons                    (sec. 3.1, eq. 5)
2. compare     neurons -> similarity map, LRDS, SADS   (sec. 3.1 and 3.2, eq. 6-9)
3. baselines   tokens, random weights -> the same scores without learning
4. probe       neurons -> key linguistic regions       (sec. 3.3, eq. 10-14)
5. describe    regions -> when their strongest neurons are active, and what they write
6. deactivate  regions -> perplexity without them      (sec. 4.3)
7. cloze       stories -> the likelier ending          (sec. 4.1 and 4.5, app. B)
8. generate    regions -> what is written without them (app. A)
9. tasks       regions -> any task of lm_eval
10. report     tables -> figures, report, tracking

Any stage can be left out. A stage is skipped when its results are in the folder with the same inputs. After `compare` a first
report is written, so that there is something to look at while the regions are measured.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any, cast

from lf_experiments.config.schema import Config
from lf_experiments.errors import InputError
from lf_experiments.models.checkpoints import training_step
from lf_experiments.runs.folder import RunFolder
from lf_experiments.runs.metrics import Metrics
from lf_experiments.storage import fingerprint
from lf_experiments.study.baselines import Baselines
from lf_experiments.study.bench import Bench
from lf_experiments.study.capture import Capture
from lf_experiments.study.cloze import Cloze
from lf_experiments.study.compare import Compare
from lf_experiments.study.deactivate import Deactivate
from lf_experiments.study.describe import Describe
from lf_experiments.study.export import write_export
from lf_experiments.study.foresight import foreseen
from lf_experiments.study.generate import Generate
from lf_experiments.study.probe import Probe
from lf_experiments.study.report import Report
from lf_experiments.study.stage import Stage
from lf_experiments.study.tasks import Tasks

log = logging.getLogger(__name__)

STAGES: tuple[type[Stage], ...] = (Capture, Compare, Baselines, Probe, Describe, Deactivate, Cloze, Generate, Tasks, Report)
"""In their order; the enumeration `Stage` of the configuration has the same names."""


def run_study(config: Config, folder: RunFolder, keep_model: bool = False) -> None:
    """Run the configured stages in a run folder. The corpora are read first: they may not be usable.

    With `keep_model` this process holds the model after a run that ended well, for the next one.
    """
    bench = Bench(config, folder)
    names = stages_to_run(config)
    try:
        folder.note(data=bench.fetch_corpora(corpora_of({*names, *folder.record["stages"]})))
        refuse_foreseen(config, bench, folder)
        folder.note(model=bench.fetch_weights())
        *stages, report = declared(config, bench).values()
        folder.claim(stages, report, config.overwrite)
        refuse_gaps(names, declared(config, bench), folder)
        write_metrics(config, folder)
        for name in names:
            is_new = run_stage(declared(config, bench)[name], bench)
            write_metrics(config, folder)
            if is_new and name == Compare.name and {Deactivate.name, Report.name} <= set(names):
                give_first_look(config, bench)
        if config.export:
            write_export(bench, Path(config.export).expanduser())
        bench.evict_weights()
    except BaseException:
        bench.release_reader()
        raise
    if not keep_model:
        bench.release_reader()


def refuse_foreseen(config: Config, bench: Bench, folder: RunFolder) -> None:
    """Raise `OtherResults` where a folder would be refused with any weights, before they are downloaded or grown."""
    earlier = folder.earlier
    if earlier and "end_tokens" in earlier["model"] and not config.model.path and not config.overwrite:
        bench.known |= foreseen(earlier, folder.record, config.model)
        *stages, report = declared(config, bench).values()
        folder.refuse_others(stages, report)


def stages_to_run(config: Config) -> list[str]:
    """The names of the configured stages that have anything to do, in their order. Raises `InputError` for none."""
    wanted = {kind.name for kind in STAGES if kind.is_wanted(config)}
    names = [stage.name for stage in config.stages]
    found = [name for name in names if name in wanted]
    if not found:
        raise InputError("stages", names, "there is nothing to do", "name tasks with tasks=[NAME], or add a stage")
    return found


def corpora_of(names: set[str]) -> set[str]:
    """The corpora that stages read, those to be run and those whose results are in the folder."""
    return {corpus for kind in STAGES if kind.name in names for corpus in kind.reads}


def declared(config: Config, bench: Bench) -> dict[str, Stage]:
    """The stages by name, each with its inputs, as far as the corpora they read were fetched."""
    stages: dict[str, Stage] = {}
    known = {**bench.known, "tables": fingerprint(tables(bench.folder))}
    for kind in STAGES:
        if known.keys() >= set(kind.reads):
            stages[kind.name] = kind.of(config, known)
            known[kind.name] = stages[kind.name].fingerprint
    return stages


def tables(folder: RunFolder) -> dict[str, Any]:
    """The files of all stages that are done but the report, which is made of them."""
    return {name: entry["files"] for name, entry in folder.done().items() if name != Report.name}


def refuse_gaps(names: list[str], stages: dict[str, Stage], folder: RunFolder) -> None:
    """Raise `InputError` where a stage is to be run whose results rest on one that is neither done nor to be run."""
    for name in names:
        for needed in () if folder.is_done(stages[name]) else stages[name].needs:
            if needed not in names and not folder.is_done(stages[needed]):
                raise InputError("stages", names, f"this run folder has no results of {needed}", f"add {needed}")


def run_stage(stage: Stage, bench: Bench) -> bool:
    """Run one stage unless its results are there; returns whether it was run."""
    if bench.folder.is_done(stage):
        log.info("%s: done before with the same inputs", stage.name)
        return False
    with bench.folder.stage(stage) as scores:
        scores.update(numbers(stage.run(bench)))
    return True


def give_first_look(config: Config, bench: Bench) -> None:
    """Write the similarity map and a report of what there is, before the stages that take long; the last stage redoes both."""
    report = cast(Report, declared(config, bench)[Report.name])
    run_stage(report.first_look(), bench)
    log.info("a first look: %s", bench.folder.path / "report.html")


def numbers(scores: dict[str, Any]) -> dict[str, Any]:
    """The scores that came to a number: too few sentences, or losses without bounds, may leave one without."""
    return {key: value for key, value in scores.items() if not isinstance(value, float) or math.isfinite(value)}


def write_metrics(config: Config, folder: RunFolder) -> None:
    """Write `metrics.json`: what the run is about, and the scores of the stages that are done."""
    step = config.checkpoint.step
    done = folder.done()
    entries = [done[kind.name] for kind in STAGES if kind.name in done]
    scores = {key: value for entry in entries for key, value in entry["scalars"].items()}
    metrics = Metrics.of(
        scores,
        model=config.model.name,
        family=config.model.family or config.model.name,
        checkpoint="final" if step is None else f"step{step}",
        training_step=training_step(config.model.recipe, config.checkpoint),
        languages=config.languages,
        sentences_per_language=config.dataset.sentences,
    )
    folder.write_metrics(metrics)
