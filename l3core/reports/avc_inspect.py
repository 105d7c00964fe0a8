"""The page of `l3flow avc inspect`: pairs with their pictures and players, and what the corpus holds."""

import base64
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from l3core.avc.corpus import SPLITS, Corpus
from l3core.avc.layout import FINE, OK, VideoRow
from l3core.avc.records import Pair, decode_audio, decode_image

TROUBLE_SHOWN = 20
_PLAIN = {"": "none"}


def inspect_page(
    corpus: Corpus,
    ledger: Mapping[str, VideoRow],
    pairs: Sequence[Pair],
    *,
    split: str,
    printable: Callable[[str], str],
) -> str:
    """The page as HTML, which asks for nothing outside itself.

    Args:
        corpus: that it is about.
        ledger: its ledger.
        pairs: that are shown.
        split: that they are of.
        printable: makes a name that somebody has written one that can be shown.

    Raises:
        DamagedError: one of them cannot be decoded.
    """
    from l3core.reports.page import render_page

    rows = list(ledger.values())
    trouble = [row for row in rows if row.status not in FINE]
    together = sum(pair.label for pair in pairs)
    return render_page(
        "avc_inspect.html",
        title="Pairs of pictures and sounds",
        corpus=printable(corpus.root),
        facts=_facts(corpus, printable),
        about=(
            f"{len(pairs)} of the {split} split, drawn at random: {together} belong together (green), "
            "the others are of two videos (orange)."
        ),
        pairs=[_shown(pair, printable) for pair in pairs],
        splits=[_split_row(corpus, rows, each) for each in SPLITS],
        statuses=_statuses(rows),
        trouble=[
            tuple(map(printable, (row.video_id, row.status, row.error or "")))
            for row in trouble[:TROUBLE_SHOWN]
        ],
    )


def summary(corpus: Corpus, ledger: Mapping[str, VideoRow]) -> dict[str, Any]:
    """What the corpus holds, for machines."""
    found: dict[str, Counter[str]] = {}
    for row in ledger.values():
        found.setdefault(row.split or "none", Counter())[row.status] += 1
    return {
        "corpus": corpus.root,
        "digest": corpus.digest,
        "settings": corpus.settings,
        "runs": corpus.runs,
        "splits": {split: _numbers(corpus, ledger.values(), split) for split in SPLITS},
        "videos": {split: dict(counts) for split, counts in found.items()},
    }


def _numbers(corpus: Corpus, rows: Iterable[VideoRow], split: str) -> dict[str, int]:
    files = corpus.of_split(split)
    of_a_video = [row.pairs for row in rows if row.split == split and row.status == OK]
    return {
        "files": len(files),
        "pairs": sum(file.pairs for file in files),
        "positives": sum(file.positives for file in files),
        "bytes": sum(file.size_bytes for file in files),
        "videos": len(of_a_video),
        "fewest_of_a_video": min(of_a_video, default=0),
        "most_of_a_video": max(of_a_video, default=0),
    }


def _split_row(corpus: Corpus, rows: Sequence[VideoRow], split: str) -> tuple[str, ...]:
    found = _numbers(corpus, rows, split)
    fewest, most = found.pop("fewest_of_a_video"), found.pop("most_of_a_video")
    return (split, *map(str, found.values()), str(most) if fewest == most else f"{fewest} to {most}")


def _statuses(rows: Sequence[VideoRow]) -> tuple[list[str], list[list[str]]]:
    """(columns, rows) of a table of statuses by split."""
    counts = Counter((row.status, row.split or "") for row in rows)
    splits = [each for each in (*SPLITS, "") if any(split == each for _, split in counts)]
    names = sorted({status for status, _ in counts}, key=lambda status: (status != OK, status))
    table = [[name, *(str(counts[name, split]) for split in splits)] for name in names]
    return ["status", *(_PLAIN.get(split, split) for split in splits)], table


def _facts(corpus: Corpus, printable: Callable[[str], str]) -> list[tuple[str, str]]:
    settings = [
        (printable(name.replace("_", " ")), printable(str(value)))
        for name, value in corpus.settings.items()
    ]
    return [("digest", corpus.digest), ("runs", str(corpus.runs)), *settings]


def _shown(pair: Pair, printable: Callable[[str], str]) -> dict[str, Any]:
    """A pair as the template wants it; both of its halves are held to be what they should be."""
    decode_audio(pair.audio)
    decode_image(pair.image)
    x, y = pair.box
    return {
        "label": pair.label,
        "image": _data("image/jpeg", pair.image),
        "audio": _data("audio/flac", pair.audio),
        "image_video": printable(pair.image_video),
        "audio_video": printable(pair.audio_video),
        "image_s": pair.image_us / 1e6,
        "audio_start_s": pair.audio_start_us / 1e6,
        "done": (
            f"crop at {x}, {y}{', flipped' if pair.flipped else ''}; saturation {pair.saturation:.2f}, "
            f"brightness {pair.brightness:+.2f}, gain {pair.gain:.2f}"
        ),
    }


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
