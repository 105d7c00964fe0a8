"""How far a run is: from the manifests of finished shards, and notes that running ones leave."""

import json
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from l3core import storage
from l3core.ahead import map_ahead
from l3core.errors import UsageError
from l3core.table.layout import TablePaths
from l3core.table.lock import keep_renewed
from l3core.table.planned import Plan

# A note is a small object; on a disk it costs nothing, on a store a request.
NOTE_EVERY_S = 2.0


class Progress(NamedTuple):
    """What is done.

    Attributes:
        share: of all the work, 0 to 1, by the plan's estimates.
        files: accounted for.
        windows: embedded.
        audio_s: seconds of audio in them.
        rewritten: windows files that were rewritten.
        to_rewrite: that have to be; known when everything is embedded.
    """

    share: float
    files: int
    windows: int
    audio_s: float
    rewritten: int = 0
    to_rewrite: int = 0

    @property
    def begun(self) -> bool:
        """Whether anything was embedded yet."""
        return self.windows > 0


class ShardNotes:
    """Notes that a running shard leaves every few seconds; they also keep its run's lock alive."""

    def __init__(self, paths: TablePaths, run_id: str, shard: str, fingerprint: str) -> None:
        self._thread = ThreadPoolExecutor(1)  # nothing waits for the store's answer
        self._left: Future[None] | None = None
        self._uri = paths.staging(run_id, "progress", f"{shard}.json")
        self._renew = partial(keep_renewed, paths, fingerprint, run_id)
        self._next = time.monotonic() + NOTE_EVERY_S

    def note(self, files: int, windows: int, audio_s: float) -> None:
        """Say how far the shard is; does nothing if the last note is young, or on its way.

        Raises:
            OSError: the last note could not be written.
        """
        if time.monotonic() < self._next or not (self._left is None or self._left.done()):
            return
        self._next = time.monotonic() + NOTE_EVERY_S
        if self._left is not None:
            self._left.result()
        note = {"files": files, "windows": windows, "audio_s": audio_s}
        self._left = self._thread.submit(self._leave, json.dumps(note).encode())

    def close(self) -> None:
        """Wait for the last note: none may come when the run's folder is cleared away."""
        self._thread.shutdown()

    def _leave(self, note: bytes) -> None:
        storage.write_bytes(self._uri, note)
        self._renew()  # a shard may be an MP3 of ten hours


class RunProgress:
    """Reads the progress of a run; each call looks only at what is new.

    Args:
        paths: of the table.
        plan: of the run.
        hop_s: seconds of audio that a window stands for.
    """

    def __init__(self, paths: TablePaths, plan: Plan, *, hop_s: float) -> None:
        self._staging = partial(paths.staging, plan.run_id)
        self._shards = {shard.name: shard for shard in plan.to_embed}
        self._total = sum(shard.estimate for shard in plan.to_embed)
        self._hop_s = hop_s
        self._done: dict[str, dict[str, float]] = {}
        self._last = Progress(0.0, 0, 0, 0.0)

    def __call__(self) -> Progress:
        """Where the run is now; as it was at the last call where the store does not say."""
        with suppress(OSError, UsageError):  # its folder may be being cleared away, too
            self._last = self._look()
        return self._last

    def _look(self) -> Progress:
        for shard in self._names("done"):
            if shard in self._shards and shard not in self._done:
                self._done[shard] = self._finished(shard)
        names = [shard for shard in self._names("progress") if shard not in self._done]
        running = dict(zip(names, map_ahead(partial(self._read, "progress"), names)))
        notes = [*self._done.values(), *running.values()]
        to_rewrite = len(self._names("rewrites")) if len(self._done) == len(self._shards) else 0
        return Progress(
            share=self._share(running),
            files=int(sum(note["files"] for note in notes)),
            windows=int(sum(note["windows"] for note in notes)),
            audio_s=sum(note["audio_s"] for note in notes),
            rewritten=len(self._names("rewritten")) if to_rewrite else 0,
            to_rewrite=to_rewrite,
        )

    def _share(self, running: dict[str, dict[str, Any]]) -> float:
        done = sum(self._shards[shard].estimate for shard in self._done)
        for shard, note in running.items():
            if shard in self._shards:
                # by files, whose number is known; windows were only estimated
                plan = self._shards[shard]
                by_files = plan.estimate * note["files"] / plan.pieces
                by_windows = min(note["windows"], 0.99 * plan.estimate)
                done += max(by_files, by_windows if plan.pieces == 1 else 0)
        return min(1.0, done / max(1, self._total))

    def _finished(self, shard: str) -> dict[str, float]:
        clips = self._read("done", shard)["clips"]
        windows = sum(clip["windows_written"] for clip in clips)
        return {"files": len(clips), "windows": windows, "audio_s": windows * self._hop_s}

    def _names(self, folder: str) -> list[str]:
        names = storage.names_below(self._staging(folder), suffix=".json")
        return [name.removesuffix(".json") for name in names]

    def _read(self, folder: str, shard: str) -> dict[str, Any]:
        return json.loads(storage.read_bytes(self._staging(folder, f"{shard}.json")))
