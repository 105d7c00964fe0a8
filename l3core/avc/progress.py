"""How far a run of `avc sample` is: from manifests of finished shards and notes of running ones."""

from contextlib import suppress
from typing import Any, NamedTuple

from l3core import storage
from l3core.ahead import map_ahead
from l3core.avc.layout import CorpusPaths
from l3core.avc.plan import Plan
from l3core.errors import UsageError
from l3core.table.json_objects import read_json


class Progress(NamedTuple):
    """What is done.

    Attributes:
        videos: that were sampled, or turned out bad.
        of: all that this run samples.
        pairs: of finished shards.
    """

    videos: int
    of: int
    pairs: int

    @property
    def share(self) -> float:
        """Of all the work, 0 to 1."""
        return self.videos / max(1, self.of)

    @property
    def begun(self) -> bool:
        """Whether the first video is done."""
        return self.videos > 0


class SampleProgress:
    """Reads the progress of a run; each call looks only at what is new.

    Args:
        paths: of the corpus.
        plan: of the run.
    """

    def __init__(self, paths: CorpusPaths, plan: Plan) -> None:
        self._paths = paths
        self._videos = {shard.name: shard.videos for shard in plan.shards if not shard.finished}
        self._done: dict[str, int] = {}  # shard -> pairs
        self._last = Progress(0, sum(self._videos.values()), 0)

    def __call__(self) -> Progress:
        """Where the run is now; as it was at the last call where the store does not say."""
        with suppress(OSError, UsageError):  # its folder may be being cleared away
            self._last = self._look()
        return self._last

    def _look(self) -> Progress:
        for name in self._names("done"):
            file = read_json(self._paths.manifest(name))["file"]
            self._done[name] = file["pairs"] if file else 0
        notes = map_ahead(self._note, self._names("progress"))
        videos = sum(self._videos[name] for name in self._done) + sum(note["videos"] for note in notes)
        return self._last._replace(videos=videos, pairs=sum(self._done.values()))

    def _names(self, folder: str) -> list[str]:
        found = storage.names_below(self._paths.staging(folder), suffix=".json")
        names = {name.removesuffix(".json") for name in found}
        return sorted(names & self._videos.keys() - self._done.keys())

    def _note(self, name: str) -> dict[str, Any]:
        return read_json(self._paths.staging("progress", f"{name}.json"))
