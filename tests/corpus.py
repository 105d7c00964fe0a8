"""Synthesised corpora, and what must become of them: for tests of tables, pipelines and commands."""

import hashlib
import io
import os
import posixpath
from pathlib import Path

import fsspec
import numpy as np
import pyarrow.parquet as pq
import soundfile
from fsspec.implementations.memory import MemoryFileSystem

from l3core import storage
from l3core.audio import Recording
from l3core.embedding import Embedder
from l3core.errors import AudioError
from l3core.listing import common_root, list_inputs, parse_input, parse_pattern
from l3core.pinned import open_pinned
from l3core.spec import EmbeddingSpec
from l3core.table.commit import commit_run, record_unchanged
from l3core.table.delta import Rules
from l3core.table.journal import repair
from l3core.table.layout import TablePaths
from l3core.table.plan import make_plan
from l3core.table.rewrite import plan_rewrites, rewrite_files
from l3core.table.shard import embed_shard
from l3core.table.state import load_state

SPEC = EmbeddingSpec(model="fake", engine="fake", weights="random:0")
FLAGS = ("--model", "fake", "--engine", "fake", "--weights", "random:0")


def noise(seconds, *, rate=8_000, channels=1, seed=0):
    """(frames, channels), float32."""
    shape = (round(seconds * rate), channels)
    return np.random.default_rng(seed).uniform(-0.5, 0.5, shape).astype(np.float32)


def write_audio(path, seconds=1.0, *, rate=8_000, channels=1, seed=0):
    """An audio file of noise; the format is that of the extension."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, noise(seconds, rate=rate, channels=channels, seed=seed), rate)
    return path


def write_files(folder, count, seconds=1.0, first=0):
    """`count` recordings 000.wav, 001.wav, ... of different noise, five windows each."""
    for number in range(first, first + count):
        write_audio(folder / f"{number:03d}.wav", seconds, seed=number)
    return folder


# clip id -> (status, windows). The model's window is 1000 samples at 4 kHz, its hop 1000, the grid is
# centred: n samples at 4 kHz have 1 + ceil((n + 500 - 1000) / 1000) windows, and at least one.
MIXED = {
    "a-b.wav": ("ok", 9),  # 2.0 s: 8000 samples, 1 + ceil(7500 / 1000)
    "a.wav": ("ok", 5),  # 1.0 s: 4000 samples, 1 + ceil(3500 / 1000)
    "a/b.flac": ("ok", 6),  # 1.3 s: 5200 samples, 1 + ceil(4700 / 1000)
    "a/deep/c.wav": ("ok", 4),  # 0.7 s: 2800 samples, 1 + ceil(2300 / 1000)
    "bad/empty.wav": ("empty", 0),
    "bad/header only.wav": ("empty", 0),
    "bad/text.wav": ("unreadable", 0),
    "cut.flac": ("truncated", None),
    "short.wav": ("ok", 1),  # 10 ms
    "silent.wav": ("ok", 5),
}


def write_mixed(folder):
    """A corpus of nested folders, several formats and rates, and files that are no good: `MIXED`."""
    write_audio(folder / "a-b.wav", 2.0, seed=1)
    write_audio(folder / "a.wav", 1.0, seed=2)
    write_audio(folder / "a/b.flac", 1.3, rate=11_025, channels=2, seed=3)
    write_audio(folder / "a/deep/c.wav", 0.7, rate=11_024, seed=4)
    write_audio(folder / "short.wav", 0.01, seed=5)
    soundfile.write(folder / "silent.wav", np.zeros(8_000, np.float32), 8_000)
    (folder / "bad").mkdir()
    (folder / "bad/empty.wav").touch()
    soundfile.write(folder / "bad/header only.wav", np.zeros(0, np.float32), 8_000)
    (folder / "bad/text.wav").write_text("these are no samples\n" * 50)
    whole = io.BytesIO()
    soundfile.write(whole, noise(30, seed=6), 8_000, format="FLAC")
    (folder / "cut.flac").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    return folder


def expected_rows(folder, spec=SPEC, root=None):
    """Rows of a corpus by the Beam-free `Embedder`: (clip id, window, start_s, silent, vector bytes)."""
    embedder = Embedder(spec)
    rows = []
    for path in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
        clip_id = path.relative_to(root or folder).as_posix()
        try:
            with path.open("rb") as file, Recording(file) as recording:
                embedding = embedder.embed_source(recording)
        except AudioError:
            continue
        for window, (vector, start_s, silent) in enumerate(zip(*embedding)):
            rows.append((clip_id, window, float(start_s), bool(silent), vector.tobytes()))
    return sorted(rows)


def table_rows(table, fingerprint="*"):
    """The same rows from all Parquet files of a table, as a plain reader finds them."""
    rows = []
    for path in sorted(Path(table).glob(f"windows/spec={fingerprint}/*.parquet")):
        for row in pq.ParquetFile(path).read().to_pylist():
            vector = np.asarray(row["embedding"], np.float32).tobytes()
            rows.append((row["clip_id"], row["window"], row["start_s"], row["silent"], vector))
    return sorted(rows)


def ledger(table, fingerprint="*"):
    """Ledger rows by clip id; a clip that is there twice is an error."""
    rows = {}
    for path in sorted(Path(table).glob(f"clips/spec={fingerprint}/*.parquet")):
        for row in pq.ParquetFile(path).read().to_pylist():
            assert row["clip_id"] not in rows, f"{row['clip_id']} is in the ledger twice"
            rows[row["clip_id"]] = row
    return rows


def snapshot(table):
    """What a plain reader can see of a table, byte for byte: path -> SHA-256."""
    table = Path(table)
    found = [table / "table.json"] + [
        path for name in ("windows", "clips", "runs", "specs") for path in (table / name).rglob("*")
    ]
    return {
        path.relative_to(table).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in found
        if path.is_file()
    }


def replace_file(path, seconds, *, seed):
    """Other content at the same place, as one rename, with a later time."""
    later = path.stat().st_mtime_ns + 1_000_000_000 if path.exists() else None
    other = write_audio(path.with_name(f"new-{path.name}"), seconds, seed=seed)
    if later:
        os.utime(other, ns=(later, later))
    other.replace(path)


def upload(folder, uri):
    """Make the objects below a URI those of a folder."""
    fs, path = fsspec.core.url_to_fs(uri, use_listings_cache=False)
    there = {name.removeprefix(path + "/") for name in fs.find(path)}
    here = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    for name in there - here.keys():
        fs.rm(posixpath.join(path, name))
    for name, file in here.items():
        if name not in there or fs.cat_file(posixpath.join(path, name)) != file.read_bytes():
            fs.pipe_file(posixpath.join(path, name), file.read_bytes())


class PlainRun:
    """A run without Beam and without the command, step by step."""

    def __init__(self, corpus, table, run_id, *, spec=SPEC, limits=None, **rules):
        self.run_id = run_id
        self.paths = TablePaths(str(table))
        self.patterns = [parse_pattern(str(corpus))]
        self.spec = spec
        self.limits = limits
        self.plan = None
        self.rules = {"named": self._names} | rules
        self.embedder = Embedder(spec)

    def make_plan(self, workers=1):
        state = repair(self.paths)
        self.plan = make_plan(
            self.paths,
            state,
            list_inputs(self.patterns),
            spec=self.spec,
            weights_digest=self.embedder.weights.digest,
            root=state.root or common_root(self.patterns),
            run_id=self.run_id,
            started_at="2026-01-01T00:00:00+00:00",
            rules=Rules(**self.rules),
            limits=self.limits,
            workers=workers,
        )
        return self

    def _names(self, uri):
        return any(pattern.names(uri) for pattern in self.patterns)

    def embed(self, shards=None):
        """Embed those shards, or all that are to do."""
        for shard in self.plan.to_embed[:shards]:
            embed_shard(self.paths, self.run_id, shard.name, self.embedder)
        return self

    def rewrite(self):
        """Rewrite what has to be."""
        for name in plan_rewrites(self.paths, self.run_id):
            rewrite_files(self.paths, self.run_id, name)
        return self

    def commit(self):
        """Rewrite and commit; a run that has nothing to do leaves its record."""
        info = {"command": "test"}
        if self.plan is not None and self.plan.empty:
            self.record = record_unchanged(self.paths, load_state(self.paths), self.plan, info)
        else:
            self.rewrite()
            self.record = commit_run(self.paths, self.run_id, info=info)
        return self

    def all(self):
        return self.make_plan().embed().commit()


def staged_runs(table):
    """Runs that have a staging folder."""
    return storage.names_below(f"{table}/_l3flow/staging", suffix="")


class Guarded(MemoryFileSystem):
    """A store that lists everything; objects whose name says so cannot be opened."""

    protocol = "guarded"
    store = {}  # noqa: RUF012  (fsspec's way)
    pseudo_dirs = [""]  # noqa: RUF012

    @staticmethod
    def register():
        fsspec.register_implementation("guarded", Guarded, clobber=True)

    def info(self, path, **kwargs):
        return super().info(path, **kwargs) | {"etag": "1"}

    def ls(self, path, detail=True, **kwargs):
        found = super().ls(path, detail=detail, **kwargs)
        return [info | {"etag": "1"} for info in found] if detail else found

    def _open(self, path, mode="rb", **kwargs):
        if mode == "rb" and "secret" in path:
            raise PermissionError(path)
        if mode == "rb" and "broken" in path:
            raise OSError("the wire is cut")
        return super()._open(path, mode, **kwargs)


def listed(uri):
    """The one object that an input names."""
    (found,) = list_inputs([parse_input(uri)])
    return found


def read(found):
    """The content of an object as it was listed."""
    with open_pinned(found) as file:
        return file.read()
