"""Names beside the points of a figure, each where it covers nothing."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from lf_experiments.figures import style

PLACES = ((0, 9), (0, -15), (8, 5), (-8, 5), (8, -11), (-8, -11), (9, -3), (-9, -3), (0, 18), (0, -24))
"""Where a name may stand beside its point, in dots of a 72nd of an inch, the best place first."""
PAD = 2
"""Between names, in pixels."""
MISLEADING = 1000
"""What a place costs that is nearer to the point of another model, in square pixels covered."""


def label_points(axes: Axes, points: dict[str, tuple[float, float]]) -> None:
    """Write the name of every point beside it, where it covers no other name, no point and no line if there is such a place.

    The layout must be final: places are chosen in pixels.
    """
    corners = {model: axes.transData.transform(point) for model, point in points.items()}
    taken = obstacles(axes)
    for model, point in points.items():
        name = axes.annotate(model, point, xytext=(0, 0), textcoords="offset points", fontsize=8, color=style.DARK)
        name.set(in_layout=False)
        costs = []
        for place in PLACES:
            box = box_at(name, place)
            is_misleading = min(corners, key=lambda other: gap(box, corners[other])) != model
            costs.append(overlap(box, taken, axes.bbox) + MISLEADING * is_misleading)
        taken.append(box_at(name, PLACES[costs.index(min(costs))]))


def box_at(name: Annotation, place: tuple[int, int]) -> Bbox:
    """Put a name to a place beside its point; returns the room it takes there."""
    name.set_position(place)
    name.set_horizontalalignment("center" if place[0] == 0 else "left" if place[0] > 0 else "right")
    return name.get_window_extent().padded(PAD)


def gap(box: Bbox, point: np.ndarray) -> float:
    """The distance from a point to a box, in pixels."""
    return float(np.hypot(*(point - np.clip(point, box.min, box.max))))


def obstacles(axes: Axes) -> list[Bbox]:
    """Small boxes around every point and along every line."""
    boxes, point = [], axes.get_figure().dpi / 72
    for line in axes.lines:
        corners = line.get_transform().transform(line.get_xydata())
        corners = corners[~np.isnan(corners).any(axis=1)]
        boxes += [box_around(corner, 0.7 * point * line.get_markersize()) for corner in corners]
        for start, end in pairwise(corners) if line.get_linestyle() != "None" else ():
            boxes += [box_around(start + (end - start) * part, 1) for part in np.linspace(0, 1, 40)]
    return boxes


def box_around(centre: np.ndarray, size: float) -> Bbox:
    """A square of twice `size` pixels."""
    return Bbox([centre - size, centre + size])


def overlap(box: Bbox, taken: list[Bbox], inside: Bbox) -> float:
    """How much of a box is covered by others or lies outside, in square pixels."""
    covered = sum(shared.width * shared.height for other in taken if (shared := Bbox.intersection(box, other)) is not None)
    within = Bbox.intersection(box, inside)
    return covered + box.width * box.height - (within.width * within.height if within is not None else 0)
