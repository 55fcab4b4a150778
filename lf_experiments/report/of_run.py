"""The report of a run, section by section: each is left out where the folder has nothing to show in it."""

from __future__ import annotations

import json

from lf_experiments.figures.catalogue import FIGURES
from lf_experiments.figures.save import saved_figures
from lf_experiments.paper.verdicts import verdicts_of_run
from lf_experiments.report import facts, found, losses, matrix, neurons, numbers, shared, similarity_map, trust, writing
from lf_experiments.report.page import Section, blocks, section
from lf_experiments.report.table import plain_table
from lf_experiments.runs.run import Run


def sections_of_run(run: Run) -> list[Section]:
    """The sections of the page, in their order."""
    verdicts, figures = verdicts_of_run(run) if run.metrics else [], saved_figures(run.folder, FIGURES)
    sections = [
        shared.warnings_section(run.record["warnings"] if run.record else []),
        found.at_a_glance(found.what_was_done(run), verdicts, figures),
        what_was_run(run),
        similarity_map.similarity_explorer(run),
        matrix.matrix(run),
        neurons.neuron_browser(run),
        shared.observations(verdicts),
        numbers.main_numbers(run, [*(trust.notes(run) if run.metrics else []), *losses.notes(run)]),
        trust.baselines(run),
        trust.replication(run),
        shared.gallery(figures),
        shared.beside_paper([run]),
        losses.effects(run),
        losses.deactivation(run),
        losses.full_model(run),
        losses.story_cloze(run),
        writing.generated_text(run),
        numbers.layers(run),
        writing.a_sentence(run),
        to_repeat_it(run),
    ]
    return [part for part in sections if part]


def what_was_run(run: Run) -> Section | None:
    """The model, the data, the seed and the versions."""
    return section("run", "What was run", blocks.words(facts.main_facts(run).items())) if run.record else None


def to_repeat_it(run: Run) -> Section | None:
    """The command; folded, what each stage took, the fingerprints and the configuration."""
    if run.record is None:
        return None
    stages, fingerprints = facts.stages(run.record), facts.fingerprints(run.record)
    config = json.dumps(run.record["config"], indent=2, ensure_ascii=False)
    folded = {
        "Duration and memory of the stages": blocks.table(plain_table(stages)) if len(stages) else None,
        "Fingerprints": blocks.words(fingerprints.items()) if fingerprints else None,
        "The whole configuration": blocks.code(config),
    }
    shown = [blocks.folded(title, block) for title, block in folded.items() if block]
    return section("repeat", "To repeat it", blocks.code(run.record["command"]), *shown)
