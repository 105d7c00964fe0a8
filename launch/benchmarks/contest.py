"""Runs of our command and of what people use instead, each a process, over the same files.

All compute on the CPU, with the same weights.
"""

import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import l3core
from l3core.errors import RunError
from l3core.spec import EmbeddingSpec
from l3core.weights import load_weights, to_h5
from launch.benchmarks.corpora import CLIP_S, make_clips, make_recording
from launch.benchmarks.environments import environment
from launch.benchmarks.named_peers import PEERS
from launch.benchmarks.results import READERS, Vectors, table_vectors
from launch.benchmarks.watched import Watched, watch
from launch.benchmarks.whole import spec_flags

SCRIPTS = Path(__file__).parent / "peers"
PYTHONS = ("3.11", "3.10")  # what TensorFlow 2.15 is for, the newest first
SAME_RATE, SAME_RATE_HZ = "same-rate", 48_000  # a clip that nobody resamples
SHORT_CLIPS, BROKEN = 9, "000004.wav"
FAILURE = re.compile(r"(?:\w+\.)*\w*(?:Error|Exception)\b(?::.*|$)")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Run(NamedTuple):
    """One run over a corpus.

    Attributes:
        seen: from outside.
        vectors: that it has written, by the files' names.
        ledger: ours: files by what became of them.
    """

    seen: Watched
    vectors: Vectors
    ledger: Mapping[str, int] = {}

    @property
    def windows(self) -> int:
        """That have a vector."""
        return sum(map(len, self.vectors.values()))

    @property
    def windows_per_s(self) -> float:
        """Start-up included."""
        return self.windows / self.seen.wall_s

    @property
    def failure(self) -> str:
        """The last line that names an error, else the last line, else the exit code; without colours."""
        lines = [COLOUR.sub("", line) for line in self.seen.lines]
        found = [match[0] for match in map(FAILURE.search, lines) if match]
        return (found or lines or [f"exit code {self.seen.code}"])[-1]


@dataclass
class Contest:
    """The files and the weights of all runs.

    Attributes:
        spec: what all compute.
        folder: for corpora and results, which are removed once they are read.
        minutes: of audio in `corpus`: half of it one recording, half of it clips.
        say: is told what goes on, in words.
    """

    spec: EmbeddingSpec
    folder: Path
    minutes: float
    say: Callable[[str], None]
    corpus: Path = field(init=False)
    broken: Path = field(init=False)

    def __post_init__(self) -> None:
        self.corpus, self.broken = self.folder / "corpus", self.folder / "broken"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.say("making audio")
        half_s = 60 * self.minutes / 2
        make_clips(self.corpus, max(1, round(half_s / CLIP_S)), CLIP_S)
        make_recording(self.corpus / "recording.wav", half_s)
        make_recording(self.corpus / f"{SAME_RATE}.wav", CLIP_S, sample_rate_hz=SAME_RATE_HZ)
        make_clips(self.broken, SHORT_CLIPS, 1.0)
        (self.broken / BROKEN).write_text("no audio\n")
        weights = to_h5(load_weights(self.spec), self.spec.network.layer_shapes(self.spec))
        self._weights.write_bytes(weights)

    @property
    def _weights(self) -> Path:
        return self.folder / "weights.h5"  # of their own ending: Keras goes by it

    def python_of(self, name: str) -> str:
        """The Python that a peer runs in; its environment is made if need be.

        Raises:
            NoEnvironmentError: it cannot be made.
        """
        requirements = PEERS[name].requirements
        if requirements is None:
            return sys.executable

        self.say(f"looking for the environment of {name}")

        def say(line: str) -> None:
            self.say(f"installing {name}, once, into an environment of its own: {line[:60]}")

        return str(environment(name, SCRIPTS / requirements, versions=PYTHONS, say=say))

    def run_ours(self, corpus: Path) -> Run:
        """Our command into a new table.

        Raises:
            RunError: it failed.
        """
        self.say("running l3flow")
        with self._results() as (table, env):
            command = [sys.executable, "-m", "launch.main", "embed", "--input", str(corpus)]
            command += ["--output", str(table), "--json", "--quiet", *spec_flags(self.spec)]
            seen = watch(command, table, ".parquet", env=_importing_ours(env))
            if seen.code:
                raise RunError(f"l3flow embed: {(seen.lines or ['no word'])[-1]}")
            return Run(seen, table_vectors(table), json.loads("\n".join(seen.lines))["ledger"])

    def run_peer(self, name: str, python: str, corpus: Path, *, limit_s: float | None = None) -> Run:
        """A peer's script into an empty folder; it may fail.

        Args:
            name: of the peer.
            python: to run it with.
            corpus: folder of audio.
            limit_s: it is killed after that.
        """
        self.say(f"running {name}")
        peer = PEERS[name]
        with self._results() as (results, env):
            command = [python, str(SCRIPTS / peer.script), str(corpus), str(results), str(self._weights)]
            command += ["--hop", str(self.spec.hop_s), "--input-repr", str(self.spec.input_repr)]
            command += ["--embedding-size", str(self.spec.embedding_size)]
            command += ["--nocenter"] if self.spec.grid == "nocenter" else []
            env = _importing_ours(env) if peer.requirements is None else env
            seen = watch(command, results, peer.suffix, env=env, limit_s=limit_s)
            return Run(seen, READERS[peer.suffix](results))

    @contextmanager
    def _results(self) -> Iterator[tuple[Path, dict[str, str]]]:
        """An empty folder for results, and the environment of who writes there."""
        results = self.folder / "results"
        results.mkdir()
        try:
            # sockets of Ray's are in it, whose paths must be short
            with tempfile.TemporaryDirectory("", "ray-", "/tmp", ignore_cleanup_errors=True) as of_ray:
                yield results, _environ(of_ray)
        finally:
            shutil.rmtree(results)


def _environ(of_ray: str) -> dict[str, str]:
    """No GPU, TensorFlow silent, Ray telling nobody."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env |= {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return env | {"RAY_TMPDIR": of_ray, "RAY_USAGE_STATS_ENABLED": "0"}


def _importing_ours(env: Mapping[str, str]) -> dict[str, str]:
    places = [str(Path(l3core.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {**env, "PYTHONPATH": os.pathsep.join(filter(None, places))}
