"""AudioSet's ontology: kinds of sound by id and name, and all that a kind has below it.

It is a graph and no tree: some kinds have several parents (github.com/audioset/ontology, CC BY-SA 4.0).
"""

import difflib
import json
from collections.abc import Iterable
from typing import Any

from l3core import storage
from l3core.errors import UsageError


class Ontology:
    """Kinds of sound.

    Attributes:
        names: display name by id, as `/m/09x0r`.
        children: ids directly below an id.
    """

    def __init__(self, names: dict[str, str], children: dict[str, tuple[str, ...]]) -> None:
        self.names = names
        self.children = children
        self._ids: dict[str, tuple[str, ...]] = {}
        for label, name in names.items():
            self._ids[name.lower()] = (*self._ids.get(name.lower(), ()), label)

    def find(self, text: str) -> tuple[str, ...]:
        """Ids of a name, in any case, or of an id; of a name that two kinds have, both.

        Raises:
            UsageError: there is none; the message has the nearest name.
        """
        if text in self.names:
            return (text,)
        if found := self._ids.get(text.lower()):
            return found
        near = difflib.get_close_matches(text.lower(), self._ids, n=1, cutoff=0.0)
        hint = f", did you mean {self.names[self._ids[near[0]][0]]!r}?" if near else ""
        raise UsageError(f"the ontology has no label {text!r}{hint}")

    def below(self, labels: Iterable[str]) -> frozenset[str]:
        """The ids themselves, and all that is below them at any depth; circles end."""
        found: set[str] = set()
        waiting = list(labels)
        while waiting:
            label = waiting.pop()
            if label not in found:
                found.add(label)
                waiting += self.children.get(label, ())
        return frozenset(found)


def read_ontology(uri: str) -> Ontology:
    """Read `ontology.json` as it is published.

    Raises:
        UsageError: it is not there, or something else.
    """
    try:
        items = json.loads(storage.read_bytes(uri).decode("utf-8-sig"))
        return _ontology(items)
    except FileNotFoundError:
        raise UsageError(f"{uri}: there is no such file") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise UsageError(
            f"{uri} is no ontology of AudioSet: needs a JSON list of objects with id, name and child_ids"
        ) from None


def _ontology(items: list[dict[str, Any]]) -> Ontology:
    names: dict[str, str] = {}
    children: dict[str, tuple[str, ...]] = {}
    for item in items:
        label, name, below = item["id"], item["name"], item["child_ids"]
        if not all(isinstance(each, str) for each in (label, name, *below)):
            raise TypeError
        names[label] = name
        children[label] = tuple(below)
    if not names:
        raise ValueError
    return Ontology(names, children)
