"""Tables of given vectors, without audio: one commit, as a run would have made it."""

from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import numpy as np

from l3core.spec import EmbeddingSpec
from l3core.table.json_objects import write_json
from l3core.table.layout import (
    LAYOUT_VERSION,
    LedgerRow,
    TablePaths,
    ledger_batch,
    ledger_folder,
    windows_folder,
)
from l3core.table.ledger import write_ledger
from l3core.table.state import entry_name
from l3core.table.windows_file import file_facts, writing_windows

DIGEST = "0" * 64
RUN = "first"
WHEN = datetime(2019, 5, 12, tzinfo=timezone.utc)


class Part(NamedTuple):
    """Windows of a clip that follow one another.

    Attributes:
        clip_id: the clip.
        vectors: float32 `(windows, d)`.
        first_window: number of the first.
        silent: bool `(windows,)`; None: none is.
    """

    clip_id: str
    vectors: np.ndarray
    first_window: int = 0
    silent: np.ndarray | None = None


def write_table(
    folder: Path, spec: EmbeddingSpec, files: Iterable[Iterable[Part]], without: Iterable[str] = ()
) -> str:
    """A table of these vectors; its fingerprint.

    Args:
        folder: for it.
        spec: whose window and hop its times are of; centred.
        files: what each windows file holds, sorted by clip and window.
        without: clips that could not be read.
    """
    fingerprint = spec.fingerprint(DIGEST)
    paths = TablePaths(str(folder))
    assert spec.hop_s is not None
    before_s = spec.network.window_samples / spec.network.sample_rate_hz / 2
    windows: dict[str, int] = {}
    places: dict[str, list[str]] = {}
    facts = []
    for number, parts in enumerate(files):
        path = f"{windows_folder(fingerprint)}/{RUN}-{number:06d}.parquet"
        with writing_windows(paths.at(path), spec.size) as writer:
            for part in parts:
                count = len(part.vectors)
                silent = np.zeros(count, bool) if part.silent is None else part.silent
                writer.append(
                    part.clip_id,
                    first_window=part.first_window,
                    start_s=(part.first_window + np.arange(count)) * spec.hop_s - before_s,
                    silent=silent,
                    vectors=part.vectors,
                )
                windows[part.clip_id] = windows.get(part.clip_id, 0) + count
                if path not in places.setdefault(part.clip_id, []):
                    places[part.clip_id].append(path)
        facts.append(file_facts(writer.written, path))
    rows = [
        LedgerRow(
            clip_id=clip,
            uri=f"/corpus/{clip}",
            size_bytes=1,
            version="1",
            status="ok" if clip in windows else "unreadable",
            error=None if clip in windows else "not audio",
            duration_s=max(0, windows.get(clip, 0) - 1) * spec.hop_s,
            windows_expected=windows.get(clip, 0),
            windows_written=windows.get(clip, 0),
            files=tuple(places.get(clip, ())),
            run_id=RUN,
            embedded_at=WHEN,
        )
        for clip in sorted({*windows, *without})
    ]
    ledger = f"{ledger_folder(fingerprint)}/{RUN}.parquet"
    written = write_ledger(paths.at(ledger), iter([ledger_batch(rows)]))
    facts.append({"path": ledger, "sha256": "", "bytes": 1, "rows": written.rows})
    record = {"layout": LAYOUT_VERSION, "run_id": RUN, "fingerprint": fingerprint, "root": "/corpus"}
    record |= {"commit": 1, "files_added": facts, "files_removed": []}
    write_json(f"{paths.journal}/{entry_name(1)}", {"record": record, "staged": {}})
    write_json(paths.record(RUN), record)
    write_json(paths.spec(fingerprint), {"spec": spec.to_dict(), "weights_digest": DIGEST})
    return fingerprint
