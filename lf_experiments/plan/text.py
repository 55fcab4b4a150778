"""The plan of a run in words, for the terminal."""

from __future__ import annotations

from itertools import groupby

from lf_experiments.neurons.sites import NO_EXPERTS
from lf_experiments.plan.placement import UNKNOWN, Device, overflow
from lf_experiments.plan.plan import GPU_BYTES, Plan
from lf_experiments.study.cost import Amount, Work

Row = tuple[str, str, str]
"""What, how much, and what to know of it."""


def plan_text(plan: Plan) -> str:
    """The plan, section by section, in aligned columns."""
    step = "its final weights" if plan.step is None else f"step {plan.step}"
    lines = [f"Plan of {plan.name} at {step}: nothing is run, nothing is downloaded."]
    for heading, rows in sections(plan):
        lines += ["", heading, *(line(row) for row in rows)]
    return "\n".join(lines)


def line(row: Row) -> str:
    what, amount, note = row
    return f"  {what:<23}{amount:>14}   {note}".rstrip()


def sections(plan: Plan) -> list[tuple[str, list[Row]]]:
    """The headings and the rows below each."""
    return [
        ("Model", model_rows(plan)),
        ("Weights", [*amount_rows(plan.weights), *amount_rows([plan.download])]),
        (placement_heading(plan), placement_rows(plan)),
        ("Tokens", token_rows(plan)),
        ("Floating-point operations", work_rows(plan)),
        ("Memory of the host", memory_rows(plan)),
        ("Cache", amount_rows(plan.cache)),
        ("Run folder", amount_rows(plan.folder)),
        *([("Export", amount_rows(plan.export))] if plan.export else []),
    ]


def placement_heading(plan: Plan) -> str:
    """How many processes hold the model, and what each holds of it."""
    processes, copies = len(plan.processes), len(plan.processes) // plan.shards
    if plan.shards > 1:
        several = f"{copies} copies of the model" if copies > 1 else "the model"
        return f"Placement of {several}, the layers shared by {plan.shards} processes{' each' if copies > 1 else ''}"
    return f"Placement, {processes} processes with the whole model each" if processes > 1 else "Placement"


def model_rows(plan: Plan) -> list[Row]:
    """What it is made of."""
    widths, architecture = plan.reader.widths, plan.reader.model.config.get_text_config().model_type
    each = " to ".join(f"{width:,}" for width in sorted({min(widths), max(widths)}))
    largest = max(plan.reader.experts, default=NO_EXPERTS)
    routed = f", {largest.number:,} experts of {largest.width:,}" if largest.number else ""
    layers = f"K: {len(widths)} layers of {each} neurons{routed} ({architecture})"
    return [("neurons", f"{sum(widths):,}", layers), ("parameters", f"{plan.reader.num_parameters:,}", "")]


def amount_rows(amounts: list[Amount]) -> list[Row]:
    """Sizes as they are."""
    return [(amount.name, in_bytes(amount.bytes), amount.note) for amount in amounts]


def placement_rows(plan: Plan) -> list[Row]:
    """What every device holds, whether all fits, and what is left free."""
    rows = list(dict.fromkeys(device_row(device) for devices in plan.processes for device in devices))
    if any(device.is_gpu for device in plan.processes[0]):
        why = f"{in_bytes(plan.working)} for a batch, {in_bytes(GPU_BYTES)} (assumed) for CUDA"
        why = why if plan.reserve else "model.max_memory says what weights may take"
        rows.append(("left free on every GPU", in_bytes(plan.reserve), why))
    return [*rows, *verdict(plan), *copy_rows(plan)]


def device_row(device: Device) -> Row:
    """What one device holds."""
    memory = "" if device.memory is None else f" of {in_bytes(device.memory)}"
    room = "" if device.room == UNKNOWN else f"room for {in_bytes(device.room)}; "
    return device.name + memory, in_bytes(device.weights), room + layers_text(device.layers)


def layers_text(layers: list[int]) -> str:
    """Layers, in runs."""
    runs = [[layer for _, layer in run] for _, run in groupby(enumerate(layers), lambda place: place[1] - place[0])]
    names = [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    return f"layers {', '.join(names)}" if names else "no layer"


def verdict(plan: Plan) -> list[Row]:
    """Whether the weights fit, and where they do not."""
    crowded = {device.name: device for devices in plan.processes for device in overflow(devices)}
    if not crowded:
        return [("fits", "yes", "")]
    helps = "what helps: more or larger GPUs, fewer processes, model.quantization=nf4"
    return [*(("fits", "no", problem(device)) for device in crowded.values()), ("", "", helps)]


def problem(device: Device) -> str:
    """What happens on a device that holds more than it should."""
    if device.weights > device.room:
        return f"{device.name} has room for {in_bytes(device.room)}"
    return f"{in_bytes(device.weights)} stay on the {device.name}, moved for every batch: slower than said here"


def copy_rows(plan: Plan) -> list[Row]:
    """How many copies of the model fit, and the key that makes a run use them."""
    if plan.copies is None:
        return []
    if not plan.copies:
        return [("copies that fit", "0", "one takes more than all GPUs together")]
    used = plan.copies * (plan.shards if plan.shards > 1 else plan.gpus // plan.copies)
    which = f"runtime.num_processes={plan.copies} uses {'all' if used == plan.gpus else f'{used} of'} {plan.gpus} GPUs"
    rows = [("copies that fit", f"{plan.copies}", which)]
    if plan.most_shards > plan.shards:
        at_once = f"one at a time in each copy; with runtime.tensor_parallel={plan.most_shards} they compute at the same time"
        rows.append(("", "", at_once))
    return rows


def token_rows(plan: Plan) -> list[Row]:
    """What is read."""
    sentences = plan.texts["dataset"].lengths
    rows = [("sentences", f"{sum(sentences):,}", f"in {len(sentences):,} sentences, {plan.texts['dataset'].note}")]
    if "text" in plan.texts:
        windows, note = plan.texts["text"].lengths, plan.texts["text"].note
        known = f"in {len(windows):,} windows of {max(windows, default=0):,} or fewer, {note}"
        rows.append(("text", f"{sum(windows):,}", known) if windows else ("text", "not known", note))
    if "cloze" in plan.texts:
        told, note = len(plan.texts["cloze"].lengths), plan.texts["cloze"].note
        known = f"in {told:,} stories with an ending, padding included, {note}"
        rows.append(("stories", f"{plan.work['cloze'].tokens:,}", known) if told else ("stories", "not known", note))
    return rows


def work_rows(plan: Plan) -> list[Row]:
    """The operations of every stage and of all together, and the time they take at the rate there is."""
    rows = [work_row(plan, stage, work) for stage, work in plan.work.items()]
    if plan.rate.throughput is None:
        return [*rows, ("time", "not known", plan.rate.note)]
    known = sum(work.operations or 0 for work in plan.work.values())
    together = ("together", f"{known:.2e}", f"about {duration(known / plan.rate.throughput)}, as far as known")
    return [*rows, together, ("in a second", f"{plan.rate.throughput:.2e}", plan.rate.note)]


def work_row(plan: Plan, stage: str, work: Work) -> Row:
    """The operations of one stage, and its time."""
    if work.operations is None:
        return stage, "not known", work.note
    time = f"about {duration(work.operations / plan.rate.throughput)}: " if plan.rate.throughput else ""
    return stage, f"{work.operations:.2e}", time + work.note


def memory_rows(plan: Plan) -> list[Row]:
    """What is held, what each stage adds, and the most there is at once."""
    stages = [Amount(f"+ {stage.name}", stage.bytes, stage.note) for stage in plan.stages]
    return amount_rows([*plan.held, *stages, Amount("peak", plan.peak, "all that is held and the largest stage")])


def in_bytes(size: int) -> str:
    """A size in GiB, MiB or KiB."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size} B"


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.1f} s"
