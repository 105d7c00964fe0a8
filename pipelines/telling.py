"""What a worker tells of its work: events for its log, and Beam's counters."""

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from apache_beam.metrics import Metrics

from l3core.logs import say, working_on
from l3core.table.counters import NAMESPACE, counted, measured
from pipelines.job import EmbedJob

# Files of a shard that are told one by one; of a million broken ones the log would be the largest cost.
MOST_CLIPS = 20

_LOGGER = logging.getLogger("pipelines")


def count(manifest: Mapping[str, Any]) -> None:
    """Add what a shard's manifest says to Beam's counters."""
    for name, number in counted(manifest).items():
        Metrics.counter(NAMESPACE, name).inc(number)
    for name, value in measured(manifest).items():
        Metrics.distribution(NAMESPACE, name).update(value)


@contextmanager
def telling_of(job: EmbedJob, shard: str) -> Iterator[None]:
    """Log when work on a shard begins and when it fails, and let all events in between name it."""
    with working_on(run=job.run_id, shard=shard):
        say(_LOGGER, "shard_started")
        start = time.monotonic()
        try:
            yield
        except Exception as error:
            seconds = time.monotonic() - start
            why = f"{type(error).__name__}: {error}"
            say(_LOGGER, "shard_failed", level=logging.ERROR, seconds=seconds, error=why)
            raise


def tell_shard(manifest: Mapping[str, Any], *, seconds: float) -> None:
    """Log what has become of a shard, and of the files in it that are not all right.

    Args:
        manifest: of it.
        seconds: since its work has begun; a shard that was done before takes next to none.
    """
    bad = [clip for clip in manifest["clips"] if clip["status"] != "ok"]
    for clip in bad[:MOST_CLIPS]:
        _tell_clip(clip)
    if rest := Counter(clip["status"] for clip in bad[MOST_CLIPS:]):
        say(_LOGGER, "more_clips", level=logging.WARNING, clips=dict(rest))
    windows = sum(clip["windows_written"] for clip in manifest["clips"])
    was_done = seconds < (manifest.get("inferences") or {}).get("seconds", 0.0)  # by an earlier try
    say(
        _LOGGER,
        "shard_done",
        seconds=seconds,
        windows=windows,
        windows_per_s=None if was_done else windows / max(seconds, 1e-9),
        clips=dict(Counter(clip["status"] for clip in manifest["clips"])),
        device=manifest.get("device"),
        metrics={**counted(manifest), **measured(manifest)},
    )


def _tell_clip(clip: Mapping[str, Any]) -> None:
    say(
        _LOGGER,
        "clip",
        level=logging.WARNING,
        clip=clip["clip_id"],
        status=clip["status"],
        error=clip["error"],
        windows_expected=clip["windows_expected"],
        windows_written=clip["windows_written"],
    )


def tell_model(job: EmbedJob, facts: Mapping[str, Any]) -> None:
    """Log that this process has loaded its model, and how far its numbers are from the reference."""
    say(_LOGGER, "model_loaded", fingerprint=job.fingerprint, **facts)


def tell_commit(job: EmbedJob, record: Mapping[str, Any]) -> None:
    """Log that a run has committed."""
    with working_on(run=job.run_id):
        say(
            _LOGGER,
            "committed",
            commit=record["commit"],
            windows=record["windows"],
            clips=record["clips"],
            wall_s=record["wall_s"],
        )
