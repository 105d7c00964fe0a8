"""A table that holds every awkward case, for the contract with other engines."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from l3core.engines import ENGINES, EngineInfo
from l3core.models import MODELS
from l3core.spec import EmbeddingSpec
from l3core.table import windows_file
from tests.corpus import PlainRun, write_audio
from tests.fake_model import FakeModel

SIZES = (512, 6144)
# Every float32 there is a kind of: zeros, subnormal and huge numbers.
EXTREMES = np.array([0.0, -0.0, 1e-45, -1.1754942e-38, 3.4028235e38, -3.4028235e38, 1 / 3], np.float32)

# clip id -> status
CLIPS = {
    "=.wav": "ok",
    "100%.wav": "ok",
    "a b.wav": "ok",
    "a%20b.wav": "ok",  # not the one above
    'it\'s "quoted", `so`.wav': "ok",
    "spec=s0000000000000000/window=1.wav": "ok",
    "$HOME;{x}[y]*?.wav": "ok",
    "\\N.wav": "ok",
    "NULL.wav": "unreadable",
    "empty.wav": "empty",
    "long.wav": "ok",
    "silent.wav": "ok",
    "text.wav": "unreadable",
    "ä/ö ü.wav": "ok",
    "a\u0308.wav": "ok",  # decomposed: not the same letter to a byte
    "日本/🎻.wav": "ok",
}
SECONDS = {"long.wav": 30.0, "a b.wav": 0.01}


class WideModel(FakeModel):
    """The fake model's signal, and vectors as wide as L3's with all that a float32 can be."""

    name = "wide"
    choices = FakeModel.choices | {"embedding_size": SIZES}

    def embedding_size(self, spec):
        return spec.embedding_size


class WideEngine:
    """Vectors that differ from window to window, and hold `EXTREMES`."""

    device = "CPU"
    batch_size = 16

    def __init__(self, spec):
        self._size = spec.size

    def __call__(self, signal, starts):
        windows = signal[starts[:, np.newaxis] + np.arange(1_000)]
        vectors = np.resize(windows, (len(starts), 1_000))[:, np.arange(self._size) % 1_000]
        vectors = vectors * np.linspace(-1, 1, self._size, dtype=np.float32)
        vectors[:, : len(EXTREMES)] = EXTREMES
        return vectors

    def gpu_memory_bytes(self):
        return None


def load(spec, weights, *, batch_size):
    return WideEngine(spec)


def load_reference(spec, weights):
    return WideEngine(spec)


def write_corpus(folder):
    for number, (clip, status) in enumerate(CLIPS.items()):
        path = folder / clip
        if status == "unreadable":
            path.write_text("these are no samples\n" * 50)
        elif status == "empty":
            path.touch()
        else:
            write_audio(path, SECONDS.get(clip, 0.5), seed=number)
    soundfile.write(folder / "silent.wav", np.zeros(8_000, np.float32), 8_000)


def make_table(folder, monkeypatch, size_of_a_group=20 * 4 * 512):
    """A table of two specs below a folder; returns size -> fingerprint.

    Two runs for each spec, so that there are several files; row groups are small, so that there are
    several of those.
    """
    MODELS.setdefault("wide", WideModel())
    ENGINES.setdefault("wide", EngineInfo(__name__, ("float32",)))
    monkeypatch.setattr(windows_file, "ROW_GROUP_BYTES", size_of_a_group)
    corpus, table = folder / "corpus", folder / "table"
    corpus.mkdir()
    write_corpus(corpus)
    made = {}
    for size in SIZES:
        spec = EmbeddingSpec(model="wide", engine="wide", weights="random:0", embedding_size=size)
        for late in (True, False):
            away = folder / "late.wav"
            if late:
                (corpus / "long.wav").rename(away)
            else:
                away.rename(corpus / "long.wav")
            run = PlainRun(corpus, table, f"20260101T00000{len(made)}Z-{int(not late)}", spec=spec).all()
        made[size] = run.record["fingerprint"]
    return made


def copy_of(table, to):
    """A copy of a table without the Arrow schema in its files, row group by row group."""
    for source in sorted(Path(table).rglob("*.parquet")):
        target = to / source.relative_to(table)
        target.parent.mkdir(parents=True, exist_ok=True)
        parquet = pq.ParquetFile(source)
        schema = parquet.schema_arrow
        with pq.ParquetWriter(target, schema, compression="zstd", store_schema=False) as writer:
            for group in range(parquet.num_row_groups):
                writer.write_table(parquet.read_row_group(group))


def compact_copy_of(folder, to, size):
    """A copy of a folder of windows as --compact-encoding writes them."""
    for source in sorted(Path(folder).iterdir()):
        with windows_file.writing_windows(str(to / source.name), size, compact=True) as writer:
            for batch in pq.ParquetFile(source).iter_batches():
                writer.append_batch(batch)


def rows_of(paths):
    """The rows of Parquet files, by the library that wrote them: what everybody has to read."""
    rows = pa.concat_tables([pq.ParquetFile(path).read() for path in sorted(paths)])
    keys = [name for name in ("clip_id", "window") if name in rows.column_names]
    return rows.sort_by([(key, "ascending") for key in keys])
