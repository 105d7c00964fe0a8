"""Questions in SQL: how long the command takes for a small one, how fast vectors are read; indexes."""

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from l3core.sql.asking import Asking
from l3core.table.json_objects import write_json
from l3core.table.layout import LAYOUT_VERSION, TablePaths, windows_folder
from l3core.table.ledger import write_ledger
from l3core.table.state import entry_name
from l3core.table.windows_file import file_facts, writing_windows
from launch.benchmarks import similar
from launch.benchmarks.figures import Figure, timed
from launch.benchmarks.ledgers import (
    CLIP_WINDOWS,
    DIGEST,
    FINGERPRINT,
    LEDGER,
    SPEC,
    clip_name,
    ledger_batches,
)

CLIPS = 1_000
FILES = 4
SIZE = 512  # of a vector
TRIES = 3

SMALL = "SELECT status, count(*) FROM clips GROUP BY status"
COUNT = "SELECT count(*) FROM windows"
ONE_CLIP = "SELECT sum(embedding[1]) FROM windows WHERE clip_id = '{}'"
NEAREST = (
    "SELECT max(array_cosine_similarity(embedding, (SELECT any_value(embedding) FROM windows "
    "WHERE clip_id = '{}'))) FROM windows"
)


def query(folder: Path, *, scale: float = 1.0) -> Iterator[Figure]:
    """The whole command over a ledger, questions over vectors beside pyarrow's own reading, indexes.

    Args:
        folder: for a table.
        scale: of its size, to try it out.
    """
    clips = max(FILES, round(CLIPS * scale))
    table = folder / "query"
    files = make_table(table, clips)
    note = f"{clips:,} clips, {clips * CLIP_WINDOWS:,} windows of {SIZE}"
    start = min(timed(partial(_command, table)) for _ in range(TRIES))
    yield Figure("l3flow query, ledger", start, "s", f"start-up, {note}")

    def asked(sql: str) -> float:
        """Seconds on a new connection, which has nothing in its memory."""
        question = sql.format(clip_name(clips // 2))
        fresh = (Asking(TablePaths(str(table)), None) for _ in range(TRIES))
        return min(timed(partial(asking.ask, question, _all)) for asking in fresh)

    yield Figure("count of windows", asked(COUNT) * 1000, "ms", note)
    yield Figure("vectors of a clip", asked(ONE_CLIP) * 1000, "ms", note)
    megabytes = clips * CLIP_WINDOWS * SIZE * 4 / 1e6
    plain = megabytes / min(timed(partial(_read, files)) for _ in range(TRIES))
    speed = megabytes / asked(NEAREST)
    yield Figure("pyarrow, embedding", plain, "MB/s", "merely read")
    yield Figure("cosine of all windows", speed, "MB/s", note)
    yield Figure("cosine / pyarrow", speed / plain, "", "of the speed of merely reading")
    if find_spec("faiss") is not None:
        clips = max(20, clips)
        similar.make_table(folder / "neighbours", clips)
        partition = similar.open_partition(folder / "neighbours")
        yield from similar.index_figures(partition, f"{clips:,} clips")


def make_table(folder: Path, clips: int) -> list[Path]:
    """A table of one commit, whole, with vectors of noise; its windows files."""
    paths = TablePaths(str(folder))
    generator = np.random.default_rng(0)
    start_s = np.arange(CLIP_WINDOWS) * 0.1
    silent = np.zeros(CLIP_WINDOWS, bool)
    places, facts = [], []
    for part in np.array_split(np.arange(clips), FILES):
        path = f"{windows_folder(FINGERPRINT)}/first-{part[0]:06d}.parquet"
        with writing_windows(paths.at(path), SIZE) as writer:
            for number in part:
                vectors = generator.standard_normal((CLIP_WINDOWS, SIZE), np.float32)
                writer.append(
                    clip_name(number), first_window=0, start_s=start_s, silent=silent, vectors=vectors
                )
        places.append(folder / path)
        facts.append(file_facts(writer.written, path))
    written = write_ledger(paths.at(LEDGER), ledger_batches(clips))
    facts.append({"path": LEDGER, "sha256": written.sha256, "bytes": written.size_bytes, "rows": clips})
    record = {
        "layout": LAYOUT_VERSION,
        "run_id": "first",
        "fingerprint": FINGERPRINT,
        "root": "/corpus",
        "commit": 1,
        "committed_at": "2019-05-12T00:00:00+00:00",
        "files_added": facts,
        "files_removed": [],
    }
    write_json(paths.spec(FINGERPRINT), {"spec": SPEC.to_dict(), "weights_digest": DIGEST})
    write_json(f"{paths.journal}/{entry_name(1)}", {"record": record, "staged": {}})
    write_json(paths.record("first"), record)
    return places


def _command(table: Path) -> None:
    command = [sys.executable, "-m", "launch.main", "query", "--table", str(table), SMALL]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _all(rows: pa.RecordBatchReader) -> None:
    for _ in rows:
        pass


def _read(files: list[Path]) -> None:
    for path in files:
        pq.ParquetFile(path).read(["embedding"])
