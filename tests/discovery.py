"""Schemas that others publish, as tests hold what we write against them."""

import copy
import gzip
import json
from pathlib import Path

SCHEMAS = Path(__file__).parent / "schemas"


def schema(name):
    return json.loads(gzip.decompress((SCHEMAS / f"{name}.json.gz").read_bytes()))


def closed(node):
    """A discovery document's schemas as JSON Schema has them: what they do not know is refused."""
    if isinstance(node, list):
        return [closed(each) for each in node]
    if not isinstance(node, dict):
        return node
    found = {key: closed(value) for key, value in node.items() if (key, value) != ("type", "any")}
    if isinstance(node.get("properties"), dict):
        found["additionalProperties"] = False
    return found


def changed(document, path, value):
    """A copy with something else at a path."""
    document = copy.deepcopy(document)
    *parents, last = path
    place = document
    for each in parents:
        place = place[each]
    place[last] = value
    return document
