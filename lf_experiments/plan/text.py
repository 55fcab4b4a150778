"""The plan of a run in words, for the terminal."""

from __future__ import annotations

from lf_experiments.plan.footprint import Amount
from lf_experiments.plan.placement import UNKNOWN, Device, overflow
from lf_experiments.plan.plan import GPU_BYTES, Plan
from lf_experiments.plan.reading import NOT_READ
from lf_experiments.plan.work import Work

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
    processes = len(plan.processes)
    return [
        ("Model", model_rows(plan)),
        ("Weights", [*amount_rows(plan.weights), *amount_rows([plan.download])]),
        (f"Placement, {processes} processes with the whole model each" if processes > 1 else "Placement", placement_rows(plan)),
        ("Tokens", token_rows(plan)),
        ("Floating-point operations", work_rows(plan)),
        ("Memory of the host", memory_rows(plan)),
        ("Cache", amount_rows(plan.cache)),
        ("Run folder", amount_rows(plan.folder)),
    ]


def model_rows(plan: Plan) -> list[Row]:
    """What it is made of."""
    layers = f"K: {plan.layers} layers of {plan.neurons_per_layer:,} neurons ({plan.architecture})"
    return [("neurons", f"{plan.neurons:,}", layers), ("parameters", f"{plan.parameters:,}", "")]


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
    return [*rows, *verdict(plan)]


def device_row(device: Device) -> Row:
    """What one device holds."""
    memory = "" if device.memory is None else f" of {in_bytes(device.memory)}"
    room = "" if device.room == UNKNOWN else f"room for {in_bytes(device.room)}; "
    return device.name + memory, in_bytes(device.weights), room + layers_text(device.layers)


def layers_text(layers: list[int]) -> str:
    """Layers, in runs."""
    if not layers:
        return "no layer"
    runs = [[layers[0], layers[0]]]
    for layer in layers[1:]:
        if layer == runs[-1][1] + 1:
            runs[-1][1] = layer
        else:
            runs.append([layer, layer])
    return "layers " + ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in runs)


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


def token_rows(plan: Plan) -> list[Row]:
    """What is read."""
    read = plan.reading
    rows = [("sentences", f"{sum(read.sentences):,}", f"in {len(read.sentences):,} sentences, {read.sentences_note}")]
    windows = [length for lengths in read.windows.values() for length in lengths]
    text = f"in {len(windows):,} windows of {max(windows, default=0):,} or fewer, {read.windows_note}"
    told = sum(rows for rows, _ in read.stories)
    stories = f"in {told:,} stories with an ending, padding included, {read.stories_note}"
    rows.append(("text", f"{sum(windows):,}", text) if windows else ("text", "not known", read.windows_note))
    tokens = sum(rows * tokens for rows, tokens in read.stories)
    rows.append(("stories", f"{tokens:,}", stories) if tokens else ("stories", "not known", read.stories_note))
    return [row for row in rows if NOT_READ not in row]


def work_rows(plan: Plan) -> list[Row]:
    """The operations of every stage and of all together, and the time they take at the rate there is."""
    rows = [(work.stage, "not known", work.note) if work.operations is None else work_row(plan, work) for work in plan.work]
    if plan.rate.throughput is None:
        return [*rows, ("time", "not known", plan.rate.note)]
    known = sum(work.operations for work in plan.work if work.operations is not None)
    together = ("together", f"{known:.2e}", f"about {duration(known / plan.rate.throughput)}, as far as known")
    return [*rows, together, ("in a second", f"{plan.rate.throughput:.2e}", plan.rate.note)]


def work_row(plan: Plan, work: Work) -> Row:
    """The operations of one stage, and its time."""
    time = f"about {duration(work.operations / plan.rate.throughput)}: " if plan.rate.throughput else ""
    return work.stage, f"{work.operations:.2e}", time + work.note


def memory_rows(plan: Plan) -> list[Row]:
    """What is held, what each stage adds, and the most there is at once."""
    stages = [Amount(f"+ {stage.name}", stage.bytes, stage.note) for stage in plan.memory.stages]
    return amount_rows([*plan.memory.held, *stages, Amount("peak", plan.memory.peak, "all that is held and the largest stage")])


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
