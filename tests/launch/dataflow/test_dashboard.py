"""The dashboard: as Google's schema has it, and only of metrics that there are."""

import json
import re
from importlib.resources import files
from pathlib import Path

import jsonschema

from l3core.table.counters import METRICS
from launch.dataflow.dashboard import COLUMNS, DOMAIN, PLATFORM, as_text, build, metric_names
from tests.discovery import changed, closed, schema

DASHBOARD = closed(schema("monitoring")) | {"$ref": "#/$defs/Dashboard"}
OPERATIONS = Path(__file__).parents[3] / "docs/operations.md"


def errors_of(dashboard):
    return [each.message for each in jsonschema.Draft202012Validator(DASHBOARD).iter_errors(dashboard)]


def texts(node):
    if isinstance(node, dict):
        node = list(node.values())
    if isinstance(node, list):
        return [text for each in node for text in texts(each)]
    return [node] if isinstance(node, str) else []


def test_the_file_is_what_the_code_says():
    assert files("launch.dataflow").joinpath("dashboard.json").read_text() == as_text()


def test_it_is_as_the_schema_has_it():
    dashboard = json.loads(as_text())
    assert errors_of(dashboard) == []
    tile = ("mosaicLayout", "tiles", 0)
    for wrong in (
        changed(dashboard, ("mosaicLayout", "tiles", 0, "widget", "xyChart", "lines"), []),
        changed(dashboard, (*tile, "widget", "xyChart", "dataSets", 0, "plotType"), "LINES"),
        changed(dashboard, (*tile, "width"), "wide"),
    ):
        assert errors_of(wrong)


def test_it_shows_no_metric_that_there_is_not():
    found = texts(build())
    shown = {
        name
        for text in found
        for names in re.findall(r'"metric_name"=~"([^"]+)"', text)
        for name in names.split("|")
    }
    assert shown <= metric_names()
    google = {name for text in found for name in re.findall(rf'="{DOMAIN}/([^"]+)"', text)}
    assert google == set(PLATFORM)
    statuses = {name for name in METRICS if name.startswith("clips_")}
    assert statuses <= shown
    assert {name for name in METRICS if name.endswith("_milli_secs")} - {
        "load_model_latency_milli_secs"
    } <= shown


def test_tiles_do_not_lie_on_each_other():
    taken = set()
    for tile in build()["mosaicLayout"]["tiles"]:
        place = {
            (x, y)
            for x in range(tile["xPos"], tile["xPos"] + tile["width"])
            for y in range(tile["yPos"], tile["yPos"] + tile["height"])
        }
        assert not place & taken
        assert max(x for x, _ in place) < COLUMNS
        taken |= place


def test_the_documents_tell_of_all_metrics():
    text = OPERATIONS.read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| `([-a-z_]+)` \| (counter|distribution), (\S+) \| (.*) \|$", text, re.MULTILINE
    )
    assert {name: (kind, unit, what) for name, kind, unit, what in rows} == {
        name: tuple(metric) for name, metric in METRICS.items()
    }
