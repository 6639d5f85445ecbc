"""Geometries as they come about: an orientation, then what a resize makes of the upright image."""

from __future__ import annotations

from hypothesis import strategies as st

from shardpack.codecs.geometry import Geometry, turned_size
from shardpack.codecs.resize import Resize

ORIENTATIONS = range(1, 9)


@st.composite
def geometries(draw, max_side=40, orientations=ORIENTATIONS, modes=("short", "long", "fit", "cover", "exact")):
    height, width = draw(st.integers(1, max_side)), draw(st.integers(1, max_side))
    orientation = draw(st.sampled_from(orientations))
    mode = draw(st.sampled_from(modes))
    across, down = draw(st.integers(1, max_side)), draw(st.integers(1, max_side))
    resize = Resize(mode, across, across if mode in {"short", "long"} else down, draw(st.booleans()))
    return Geometry(height, width, resize.target(*turned_size(height, width, orientation)), orientation)
