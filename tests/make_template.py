"""Writes launch/dataflow/template.json from the options of `embed`: python -m tests.make_template."""

import json
from pathlib import Path

from launch.dataflow import template

FILE = Path(template.__file__).with_name("template.json")


def text():
    """The spec, whose image is filled in by who builds the template."""
    return json.dumps(template.spec_of_template(""), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
