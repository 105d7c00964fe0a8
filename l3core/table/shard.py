"""`embed_shard`, the work of one Beam element: read, decode, embed, write one file and a manifest."""

import socket
import sys
import uuid
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from datetime import datetime, timezone
from functools import partial
from io import BufferedReader
from typing import Any

from l3core import storage
from l3core.ahead import IO_CONCURRENCY, map_ahead
from l3core.audio import AudioInfo, Recording
from l3core.checksums import checksum_of
from l3core.embedding import Embedder
from l3core.errors import AudioError, RunError
from l3core.machine import usable_cores
from l3core.pinned import open_pinned
from l3core.prefetch import prefetch
from l3core.rounding import RoundingMeter
from l3core.segments import Segment
from l3core.stores import is_remote
from l3core.table.counters import ModelLoad
from l3core.table.failures import MOST_STORAGE_ERRORS, Failures
from l3core.table.json_objects import create_json, read_json
from l3core.table.layout import WITH_WINDOWS, LedgerRow, TablePaths, windows_folder
from l3core.table.merge import merge_windows
from l3core.table.pieces import Piece, key_of
from l3core.table.planned import load_pieces
from l3core.table.progress import ShardNotes
from l3core.table.reference import Conformance
from l3core.table.stopwatch import Stopwatch, TimedFile, TimedSource
from l3core.table.windows_file import WindowsWriter, Written, file_facts, writing_windows
from l3core.turns import Turns

# A thread reads and decodes about 1,000 x real time; on two cores a second one only takes turns with it
# (short clips: 25 % more CPU, no less time).
CORES_A_DECODER = 4
# How far ahead of the model they go: so many recordings wait, each with so many segments of about ten
# seconds (2 MB at 48 kHz).
RECORDINGS_AHEAD = 8
SEGMENTS_AHEAD = 4
# libsndfile asks for 8 kB at a time, through Python.
READ_BYTES = 2**16


class Outcome:
    """What becomes of one piece while it is embedded."""

    def __init__(self, piece: Piece) -> None:
        self.piece = piece
        self.checksum = piece.checksum
        self.info: AudioInfo | None = None
        self.windows = range(0)
        self.written = 0
        self.error: AudioError | None = None

    def row(self, run_id: str, file: str) -> LedgerRow:
        """The ledger row, or this piece's part of it."""
        info = self.info
        return LedgerRow(
            clip_id=self.piece.clip_id,
            uri=storage.as_text(self.piece.uri),
            size_bytes=self.piece.size_bytes,
            version=self.piece.version,
            checksum=self.checksum,
            status=self.error.status if self.error else "ok",
            error=str(self.error) if self.error else None,
            sample_rate=info.sample_rate_hz if info else None,
            channels=info.channels if info else None,
            frames=info.frames if info else None,
            duration_s=info.duration_s if info else None,
            codec=info.codec if info else None,
            windows_expected=len(self.windows),
            windows_written=self.written,
            files=(file,) if self.written else (),
            run_id=run_id,
            embedded_at=datetime.now(timezone.utc),
        )


class _Reader:
    """Reads what a model embeds; several threads do.

    Args:
        embedder: of the run's spec.
        watch: for the time that it takes.
        turns: of the threads that decode.
        failures: told what cannot be read.
    """

    def __init__(self, embedder: Embedder, watch: Stopwatch, turns: Turns, failures: Failures) -> None:
        self._embedder = embedder
        self._watch = watch
        self._turns = turns
        self._failures = failures

    def segments(self, outcome: Outcome) -> Iterator[tuple[Outcome, Segment]]:
        """Segments of a piece; where it fails its outcome notes why, and the segments end."""
        segments = self._read(outcome)
        while True:
            try:
                with self._turns.turn(), self._watch.timing("resample"):
                    segment = next(segments, None)
            except AudioError as error:
                error.__traceback__ = error.__context__ = None  # they hold decoders that have crashed
                outcome.error = error
                self._failures.count(error)
                return
            if segment is None:
                return
            yield outcome, segment

    def _read(self, outcome: Outcome) -> Iterator[Segment]:
        piece = outcome.piece
        with ExitStack() as stack:
            opened = open_pinned(piece.listed, self._turns.lend)
            file = stack.enter_context(self._watch.timing_ends("read", opened))
            if outcome.checksum is None and piece.first_window == 0:
                with self._watch.timing("read"):
                    outcome.checksum = checksum_of(file)
                    file.seek(0)
            with self._watch.timing("decode"):
                timed = BufferedReader(TimedFile(file, self._watch), READ_BYTES)
                recording = stack.enter_context(Recording(timed))
            outcome.info = recording.info
            total = self._embedder.window_count(recording.info)
            last = total if piece.last_window is None else piece.last_window
            outcome.windows = range(piece.first_window, last)
            yield from self._embedder.segments(TimedSource(recording, self._watch), outcome.windows)


def embed_shard(
    paths: TablePaths,
    run_id: str,
    shard: str,
    embedder: Embedder,
    *,
    conformance: Conformance | None = None,
    load: ModelLoad | None = None,
    rounding: RoundingMeter | None = None,
    decoders: int | None = None,
    io_concurrency: int = IO_CONCURRENCY,
    max_storage_errors: int = MOST_STORAGE_ERRORS.number,
    compact: bool = False,
) -> dict[str, Any]:
    """Embed the pieces of a shard; a shard that is done already is left as it is.

    Whatever is wrong with an object becomes its ledger row; its neighbours are not touched.

    Args:
        paths: of the table.
        run_id: of the run.
        shard: its name.
        embedder: of the run's spec.
        conformance: of this worker to the spec's reference, for the receipt.
        load: of the model, if this is the first shard since; for the receipt, too.
        rounding: of this worker, where the spec asks for mixed precision; for the receipt, too.
        decoders: recordings that are decoded at the same time; None: by the number of cores.
        io_concurrency: objects that are read from a store at the same time.
        max_storage_errors: of the run; with more in this shard alone it need not go on.
        compact: write vectors as `l3core.table.windows_file.COMPACT`.

    Returns:
        The manifest: file, ledger rows and busy times.
    """
    done = paths.staging(run_id, "done")
    manifest_uri = storage.join(done, f"{shard}.json")
    # a runner may try an element again, even after the commit
    is_done, is_committed = map_ahead(storage.is_object, [manifest_uri, paths.record(run_id)])
    if is_done:
        return read_json(manifest_uri)
    if is_committed:
        return {"shard": shard, "file": None, "pieces": [], "clips": []}
    # a runner may also try it twice at the same time: each writes its own file, one manifest counts
    name = f"{run_id}-{shard}-{uuid.uuid4().hex[:8]}.parquet"
    file = storage.join(done, name)
    outcomes = [Outcome(piece) for piece in load_pieces(paths, run_id, shard)]
    watch = Stopwatch()
    decoders = decoders or max(1, usable_cores() // CORES_A_DECODER)
    remote = any(is_remote(outcome.piece.uri) for outcome in outcomes)
    readers = max(decoders, io_concurrency) if remote else decoders
    turns = Turns(decoders, partial(watch.timing, "wait_for_turn"))
    reader = _Reader(embedder, watch, turns, Failures(max_storage_errors))
    ahead = prefetch(
        (partial(reader.segments, outcome) for outcome in outcomes),
        threads=readers,
        sources_ahead=max(RECORDINGS_AHEAD, readers),
        items_ahead=SEGMENTS_AHEAD,
        waited=partial(watch.add, "wait_for_model"),
    )
    notes = closing(ShardNotes(paths, run_id, shard, embedder.fingerprint))
    with notes as noting, closing(ahead) as segments:
        writing = writing_windows(file, embedder.spec.size, compact=compact)
        written = _embed(writing, outcomes, segments, embedder, watch, noting, rounding)
    written = _without_failed(file, written, outcomes)
    final = f"{windows_folder(embedder.fingerprint)}/{run_id}-{shard}.parquet"
    manifest = {
        "shard": shard,
        "staged": name,
        "file": file_facts(written, final) if written.clips else None,
        "pieces": [key_of(outcome.piece) for outcome in outcomes],
        "clips": [outcome.row(run_id, final).to_json() for outcome in outcomes],
        "busy_s": watch.seconds,
        "bytes_read": watch.bytes_read,
        "inferences": watch.inferences,
        "load": load._asdict() if load else None,
        "gpu_memory_bytes": embedder.engine.gpu_memory_bytes(),
        "host": socket.gethostname(),
        "device": embedder.engine.device,
        "deviation": conformance.deviation._asdict() if conformance else None,
        "reference": conformance.reference if conformance else None,
        "rounding": rounding.take() if rounding else None,
        "batch_size": embedder.engine.batch_size,
    }
    there = create_json(manifest_uri, manifest)
    if there["staged"] != name:  # another try was faster
        storage.remove(file)
    return there


def _embed(
    writing: AbstractContextManager[WindowsWriter],
    outcomes: Sequence[Outcome],
    segments: Iterator[tuple[Outcome, Segment]],
    embedder: Embedder,
    watch: Stopwatch,
    notes: ShardNotes,
    rounding: RoundingMeter | None,
) -> Written:
    hop_s = embedder.spec.hop_s or 0.0
    place = {id(outcome): number for number, outcome in enumerate(outcomes)}
    windows = 0
    with writing as writer:
        embedded = embedder.embed_segments(
            watch.timing_items("wait_for_audio", segments),
            computed=watch.add_batch,
            halved=watch.add_halved,
            seen=rounding.look if rounding else None,
        )
        while True:
            with watch.timing("model"):
                part = next(embedded, None)
            if part is None:
                break
            outcome, vectors, silent = part
            first = outcome.windows.start + outcome.written
            assert outcome.info is not None
            with watch.timing("write"):
                writer.append(
                    outcome.piece.clip_id,
                    first_window=first,
                    start_s=embedder.start_s(outcome.info, range(first, first + len(vectors))),
                    silent=silent,
                    vectors=vectors,
                )
            outcome.written += len(vectors)
            windows += len(vectors)
            notes.note(place[id(outcome)], windows, windows * hop_s)
    return writer.written


def _without_failed(file: str, written: Written, outcomes: Sequence[Outcome]) -> Written:
    """The file without clips that failed after some of their windows were written; removed if empty.

    Raises:
        RunError: it holds others than were written.
    """
    rows: Counter[str] = Counter()
    for outcome in outcomes:
        rows[outcome.piece.clip_id] += outcome.written
    if written.clips != +rows:
        raise RunError(f"{file} does not hold what was written to it")
    failed = {
        outcome.piece.clip_id
        for outcome in outcomes
        if outcome.written and outcome.error and outcome.error.status not in WITH_WINDOWS
    }
    if failed:
        written = _drop(file, failed) or written._replace(clips={})
        for outcome in outcomes:
            outcome.written = 0 if outcome.piece.clip_id in failed else outcome.written
    if not written.clips:
        storage.remove(file)
    return written


def _drop(file: str, clips: Collection[str]) -> Written | None:
    """Write a windows file again without some clips; None if nothing is left to write."""
    merged = merge_windows(
        [file],
        lambda number: file,
        end_of=lambda _, clip_id: 0 if clip_id in clips else None,
        most_bytes=sys.maxsize,
    )
    return merged[0].written if merged else None
