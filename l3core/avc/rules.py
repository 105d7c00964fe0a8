"""Rules that choose segments by their labels: data files, with the columns of the original's lists.

`filter_type` (label or ytid), `accept_reject`, `include_children` (may lack: false) and `string`. A
segment is chosen if no rule rejects it, and if one accepts it or none accepts anything
(marl/l3embedding, data/avc/subsets.py).
"""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from l3core import storage
from l3core.avc.ontology import Ontology
from l3core.errors import UsageError

PUBLISHED = {
    name: str(Path(__file__).with_name("rules") / f"{name}.csv") for name in ("music", "environmental")
}
KINDS = ("label", "ytid")
VERDICTS = {"accept": True, "reject": False}
TRUTHS = {"true": True, "false": False}
COLUMNS = ("filter_type", "accept_reject", "string")


class Rule(NamedTuple):
    """One line of a file of rules.

    Attributes:
        kind: label, or ytid: a video's own id.
        accepts: or rejects.
        with_children: all that is below the label in the ontology matches, too.
        text: the label's name or id, or the video's id.
    """

    kind: str
    accepts: bool
    with_children: bool
    text: str


def read_rules(which: str) -> tuple[Rule, ...]:
    """Rules that are published, by their name, or those of a file.

    Args:
        which: `music`, `environmental`, or a path or URI.

    Raises:
        UsageError: there are none, or a line is wrong; the message has its number.
    """
    uri = PUBLISHED.get(which, which)
    try:
        text = storage.read_bytes(uri).decode("utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"{which}: needs {', '.join(PUBLISHED)} or a file of rules") from None
    except UnicodeDecodeError:
        raise UsageError(f"{which} is no CSV in UTF-8") from None
    numbered = enumerate(text.splitlines(), 1)
    lines = {number: line for number, line in numbered if line.strip() and not line.startswith("#")}
    rows = csv.DictReader(io.StringIO("\n".join(lines.values())), skipinitialspace=True, strict=True)
    try:
        lacking = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
        if lacking:
            raise UsageError(f"{which} is no file of rules: it lacks the column {lacking[0]}")
        rules = tuple(_rule(row) for row in rows)
    except (csv.Error, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        number = list(lines)[rows.line_num - 1]
        raise UsageError(f"{which}, line {number}: {error}") from None
    if not rules:
        raise UsageError(f"{which} has no rule")
    return rules


def _rule(row: dict[str, str | None]) -> Rule:
    kind, verdict, text = (str(row[name] or "").strip() for name in COLUMNS)
    children = str(row.get("include_children") or "false").strip().lower()
    if kind not in KINDS:
        raise ValueError(f"filter_type needs {' or '.join(KINDS)}, got {kind!r}")
    if verdict.lower() not in VERDICTS:
        raise ValueError(f"accept_reject needs {' or '.join(VERDICTS)}, got {verdict!r}")
    if children not in TRUTHS:
        raise ValueError(f"include_children needs {' or '.join(TRUTHS)}, got {children!r}")
    if not text:
        raise ValueError("string needs a label or an id of a video, got none")
    return Rule(kind, VERDICTS[verdict.lower()], TRUTHS[children], text)


class Chooser:
    """Rules that are ready to choose.

    Attributes:
        rules: all of them.
        matches: segments that each has matched so far, in the order of the rules.
    """

    def __init__(self, rules: Sequence[Rule], ontology: Ontology, *, children: bool = True) -> None:
        """Raises UsageError for a label that the ontology does not know.

        Args:
            rules: of one file.
            ontology: of the segments' labels.
            children: False: `include_children` has no effect, as in the original, whose test compares
                the rule's label with itself.
        """
        self.rules = tuple(rules)
        self.matches = [0] * len(self.rules)
        self._of_label: dict[str, list[int]] = {}
        self._of_video: dict[str, list[int]] = {}
        for place, rule in enumerate(self.rules):
            if rule.kind == "ytid":
                self._of_video.setdefault(rule.text, []).append(place)
                continue
            labels: Iterable[str] = ontology.find(rule.text)
            for label in ontology.below(labels) if children and rule.with_children else labels:
                self._of_label.setdefault(label, []).append(place)
        self._none_accepts = not any(rule.accepts for rule in self.rules)

    def chooses(self, video: str, labels: Iterable[str]) -> bool:
        """Whether a segment is in; counts what has matched."""
        places = set(self._of_video.get(video, ()))
        for label in labels:
            places.update(self._of_label.get(label, ()))
        for place in places:
            self.matches[place] += 1
        if any(not self.rules[place].accepts for place in places):
            return False
        return bool(places) or self._none_accepts
