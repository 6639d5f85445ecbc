"""Positions in pixels as labels have them, and polygons as (n, 2) arrays of points: cut to an image, and their area."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
_DECIMALS = 3


def rounded(value: float) -> float:
    """Return a position as labels have it: to 0.001 pixels, an integer where it is one."""
    result = round(float(value), _DECIMALS)
    return int(result) if result.is_integer() else result


def clip_polygon(points: Points, width: float, height: float) -> Points:
    """Return the part of a polygon within 0..width and 0..height; empty if nothing is left.

    Sutherland and Hodgman's algorithm: parts of a concave polygon stay joined by an edge along the border.
    """
    for axis, bound, keep_below in ((0, 0.0, False), (0, width, True), (1, 0.0, False), (1, height, True)):
        if not len(points):
            break
        points = _clip_side(points, axis, bound, keep_below=keep_below)
    return points


def _clip_side(points: Points, axis: int, bound: float, *, keep_below: bool) -> Points:
    at = points[:, axis]
    inside = at <= bound if keep_below else at >= bound
    if inside.all():
        return points
    kept: list[Points] = []
    for number in range(len(points)):
        before, here = points[number - 1], points[number]
        if inside[number] != inside[number - 1]:
            share = (bound - before[axis]) / (here[axis] - before[axis])
            crossing = before + share * (here - before)
            crossing[axis] = bound
            kept.append(crossing)
        if inside[number]:
            kept.append(here)
    return np.array(kept, np.float64).reshape(-1, 2)


def polygon_area(points: Points) -> float:
    """Return the area of a polygon, by the shoelace formula; 0 for fewer than three points."""
    if len(points) < 3:
        return 0.0
    x, y = points[:, 0], points[:, 1]
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2
