"""What the stages after the probe do to the model: nothing, an intervention on each key region, the same on random neurons."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from lf_experiments.config.schema import Config, ControlConfig, InterventionConfig, Match
from lf_experiments.measures.controls import LARGEST_DIFFERENCE, control, impact, worst_difference
from lf_experiments.measures.regions import Region, random_region, region_of
from lf_experiments.neurons.interventions import RANDOM, VALUES, Intervention, nothing
from lf_experiments.storage import fingerprint
from lf_experiments.study.bench import Bench

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Deactivations:
    """Which interventions an evaluation is run under; a field of its stage, so that its own fields are inputs too."""

    regions: str
    """The fingerprint of the probe."""
    intervention: InterventionConfig
    control: ControlConfig | None = None
    """None for an evaluation without random controls."""
    seed: int | None = None
    """Of the controls."""

    @classmethod
    def of(cls, config: Config, known: Mapping[str, str]) -> Deactivations:
        """Those of a run, with controls; `known` has the fingerprint of its probe."""
        return cls(known["probe"], config.intervention, config.control, config.seed)

    def at_every_dose(self, bench: Bench) -> list[Intervention]:
        """The full model, then each key region and each random control at every dose."""
        return self.treated(bench, key_regions(bench, self.intervention.fraction), self.intervention.doses)

    def at_full_dose(self, bench: Bench) -> list[Intervention]:
        """The same at the largest dose alone."""
        return self.treated(bench, key_regions(bench, self.intervention.fraction), self.full_dose)

    def of_tasks(self, bench: Bench) -> list[Intervention]:
        """The same for tasks, which have no language of their own: their random controls are all the paper's."""
        uniform = self.control and replace(self.control, match=Match.uniform)
        return replace(self, control=uniform).treated(bench, key_regions(bench, self.intervention.fraction), self.full_dose)

    def of_regions(self, bench: Bench, languages: Collection[str]) -> list[Intervention]:
        """The full model, and the key regions of some languages at the largest dose, without controls."""
        regions = [region for region in key_regions(bench, self.intervention.fraction) if region.language in languages]
        return replace(self, control=None).treated(bench, regions, self.full_dose)

    def passes(self, languages: int, at_full_dose: bool = False) -> int:
        """How often an evaluation reads everything: the full model, each region and each control at every dose.

        Controls that match the region of a language read that language alone: one draw for each region is one reading of all.
        """
        controls = self.control.draws + self.control.paper if self.control else 0
        return 1 + (languages + controls) * (1 if at_full_dose else len(self.intervention.doses))

    @property
    def full_dose(self) -> list[float]:
        """The largest dose, alone."""
        return [max(self.intervention.doses)]

    def treated(self, bench: Bench, regions: list[Region], doses: list[float]) -> list[Intervention]:
        """The full model, then every region, the paper's controls and the controls that match a region, at every dose."""
        activations = bench.capture() if self.intervention.name in VALUES else None

        def at_doses(region: Region, draw: int = 0) -> list[Intervention]:
            return [region.intervention(self.intervention.name, activations, dose, draw) for dose in doses]

        treated = [full_model(bench), *(intervention for region in regions for intervention in at_doses(region))]
        for draw, region in enumerate(self.uniform_controls(bench, regions)):
            treated += at_doses(region, draw)
        for draw, region in self.matched_controls(bench, regions):
            treated += [replace(done, name=RANDOM, matches=region.language) for done in at_doses(region, draw)]
        return treated

    def uniform_controls(self, bench: Bench, regions: list[Region]) -> list[Region]:
        """The paper's control: random neurons of the whole model, as many as the largest key region has, for each draw."""
        if self.control is None:
            return []
        draws = self.control.paper + (self.control.draws if self.control.match is Match.uniform else 0)
        largest, widths = max(region.size for region in regions), bench.load_reader().widths
        return [random_region(widths, largest, seed_of(self.seed, draw)) for draw in range(draws)]

    def matched_controls(self, bench: Bench, regions: list[Region]) -> list[tuple[int, Region]]:
        """(draw, random neurons under the language of the region that they match), for every draw and region.

        Warns where there are too few other neurons, and where those there are do not match.
        """
        if self.control is None or self.control.match is Match.uniform or not self.control.draws:
            return []
        impact_L_N = impact_of_neurons(bench) if self.control.match is Match.impact else []
        found: list[tuple[int, Region]] = []
        short: dict[str, int] = {}
        unlike: dict[str, float] = {}
        for region in regions:
            for draw in range(self.control.draws):
                drawn = control(
                    self.control.match.name, region.where_L_N, impact_L_N, seed_of(self.seed, draw, region.language)
                )
                short[region.language] = drawn.shortfall
                if impact_L_N:
                    difference = worst_difference(drawn.where_L_N, region.where_L_N, impact_L_N)
                    unlike[region.language] = max(difference, unlike.get(region.language, 0.0))
                found.append((draw, Region(region.language, drawn.where_L_N)))
        warn_of_misfits(short, unlike)
        return found


def warn_of_misfits(short: dict[str, int], unlike: dict[str, float]) -> None:
    """Warn of controls with fewer neurons than their region, and of those that are not like it, by language."""
    missing = [f"{language} ({count:,} missing)" for language, count in short.items() if count]
    if missing:
        log.warning("random neurons are fewer than the key region they stand beside: %s", ", ".join(missing))
    misfits = [f"{language} ({worst:.2f})" for language, worst in unlike.items() if worst > LARGEST_DIFFERENCE]
    if misfits:
        log.warning(
            "random neurons do not act as strongly as the key region they stand beside, by more than %g of its standard "
            "deviations in some layer: %s",
            LARGEST_DIFFERENCE,
            ", ".join(misfits),
        )


def impact_of_neurons(bench: Bench) -> list[Tensor]:
    """How much every neuron adds to the residual stream, layer by layer. Raises `InputError` where that cannot be measured."""
    return impact(bench.capture("magnitude"), [site.column_norms() for site in bench.load_reader().sites])


def full_model(bench: Bench) -> Intervention:
    """Nothing done."""
    return nothing(bench.load_reader().widths)


def key_regions(bench: Bench, fraction: float = 1.0) -> list[Region]:
    """The key region of each language, in the order of the map, as the probe left it, or a fraction of each."""
    key_neurons = bench.folder.read_table("key_neurons.parquet")
    return [region_of(language, key_neurons, bench.load_reader().widths, fraction) for language in bench.languages]


def seed_of(seed: int | None, draw: int, language: str | None = None) -> int:
    """A seed per random control, unrelated between draws, between regions and between seeds of the run."""
    return int(fingerprint([seed, draw, *([] if language is None else [language])]), 16) % 2**63
