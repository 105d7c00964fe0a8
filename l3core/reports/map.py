"""The page of a map: the clips of a table as points that are coloured, searched and listened to."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
from markupsafe import Markup

from l3core.maps.columns import Column
from l3core.maps.placing import Placed
from l3core.reports.page import COLOURS, render_page
from l3core.urls import is_web

STEPS = 65_535  # of either coordinate
# Matplotlib's viridis, told apart by colour-blind people and in grey (bids.github.io/colormap).
SCALE = (
    *("#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c"),
    *("#28ae80", "#5ec962", "#addc30", "#fde725"),
)


def map_page(
    table: str,
    about: str,
    placed: Placed,
    clips: Sequence[str],
    uris: Sequence[str],
    columns: Sequence[Column],
    colour: str,
) -> str:
    """The page as HTML: some 100 bytes a clip, its id not counted.

    Its script is allowed by its digest and no other is, and the page asks no server for anything, but
    for the audio of a clip that lies on the web and is clicked on.

    Args:
        table: URI of the table, as it is shown.
        about: what is shown, in words.
        placed: where the clips are.
        clips: ids.
        uris: of the clips' audio.
        columns: that they can be coloured by; all are told of a clip.
        colour: name of the column that is shown first.
    """
    data = {
        "points": _whole(placed.points).ravel().tolist(),
        "clips": list(clips),
        **_places(clips, uris),
        "columns": [_column(column) for column in columns],
        "colour": colour,
        "colours": COLOURS,
        "scale": SCALE,
    }
    script = files("l3core.reports").joinpath("templates/map.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return render_page(
        "map.html",
        title="Map of a feature table",
        table=table,
        about=about,
        script=Markup(script),
        digest=digest,
        web=any(map(is_web, uris)),
        data=_embedded(data),
    )


def _whole(points: np.ndarray) -> np.ndarray:
    """Coordinates as whole numbers from 0 to `STEPS`, both on the same scale, y downwards."""
    low, high = points.min(axis=0), points.max(axis=0)
    span = float((high - low).max()) or 1.0
    shares = 0.5 + (points - (low + high) / 2) / span
    return np.rint(STEPS * np.where([False, True], 1 - shares, shares)).astype(int)


def _places(clips: Sequence[str], uris: Sequence[str]) -> Mapping[str, Any]:
    """URIs, of which most are a folder's and the clip's id: then 0."""
    root = next((uri[: -len(clip)] for clip, uri in zip(clips, uris) if uri.endswith("/" + clip)), "")
    return {"root": root, "uris": [0 if uri == root + clip else uri for clip, uri in zip(clips, uris)]}


def _column(column: Column) -> dict[str, Any]:
    values = column.values
    if column.kind == "names":
        values = [-1 if value is None else value for value in values]
    return column._asdict() | {"values": values}


def _embedded(data: Mapping[str, Any]) -> Markup:
    """JSON that nothing ends early: within a script element only `<` begins anything."""
    return Markup(json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))
