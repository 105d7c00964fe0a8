"""An index of nearest neighbours beside its table: what it covers, its files, and when it is of no use.

OUT/_l3flow/neighbours/<fp>/<of>.json             what the index is of; names the other two
OUT/_l3flow/neighbours/<fp>/<of>-<id>.faiss       the vectors, as FAISS writes them
OUT/_l3flow/neighbours/<fp>/<of>-<id>.parquet     clip_id, window, start_s of each vector

The first is written last, whole or not at all: it publishes the index. `<of>` is `clips` or `windows`.
Nothing depends on an index: the next one, `specs drop` or `l3flow index --drop` removes it.
"""

import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields
from types import ModuleType
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from l3core import storage
from l3core.checksums import CHUNK_BYTES, checksum_of
from l3core.errors import RunError, TableError, UsageError
from l3core.search.vectors import Partition
from l3core.stores import is_disk
from l3core.table.json_objects import read_json, write_json
from l3core.table.layout import is_plain

FORMAT = "l3flow-neighbours-1"
OF = ("clips", "windows")
KEYS = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("window", pa.int32()),
        pa.field("start_s", pa.float64()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class IndexFacts:
    """What is known of an index.

    Attributes:
        format: `FORMAT`.
        fingerprint: of the spec.
        of: `clips` (their means) or `windows`.
        commit: the last one that had changed the partition; another one since makes the index stale.
        vectors: how many.
        size: numbers in a vector.
        stored: how numbers are stored: `f32`, `f16` or `i8`.
        lists: parts that vectors are sorted into.
        probes: parts that a search reads.
        recall: share of the ten exact neighbours that are found, of `queries` queries.
        queries: how many were tried.
        index, keys: names of the files.
        index_bytes: size of the first.
        checksum: of the first.
        built_at: when, UTC.
    """

    format: str
    fingerprint: str
    of: str
    commit: int
    vectors: int
    size: int
    stored: str
    lists: int
    probes: int
    recall: float
    queries: int
    index: str
    keys: str
    index_bytes: int
    checksum: str
    built_at: str


def faiss_module() -> ModuleType:
    """FAISS.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import faiss
    except ImportError:
        raise UsageError("an index needs FAISS: pip install 'l3flow[index]'") from None
    return faiss


def place_of(partition: Partition, name: str) -> str:
    """URI of a file of the partition's indexes; one that leads out of the table is refused."""
    folder = partition.paths.neighbours(partition.fingerprint)
    return partition.paths.at(storage.join(folder, name).removeprefix(partition.paths.at("")))


def read_facts(partition: Partition, of: str) -> IndexFacts | None:
    """What is known of an index; None if there is none.

    Raises:
        TableError: it is damaged, or of another version.
    """
    place = place_of(partition, f"{of}.json")
    try:
        content = read_json(place)
    except FileNotFoundError:
        return None
    if content.get("format") != FORMAT:
        raise TableError(f"{place} is no index of this l3flow: {_again(of)}")
    for field in fields(IndexFacts):
        value: Any = content.get(field.name)
        if type(value) is not field.type and not (field.type is float and type(value) is int):
            raise TableError(f"{place} is damaged, {field.name} is {value!r:.80}: {_again(of)}")
    facts = IndexFacts(**{field.name: content[field.name] for field in fields(IndexFacts)})
    if not all(is_plain(name) and "/" not in name for name in (facts.index, facts.keys)):
        raise TableError(f"{place} is damaged, its files are elsewhere: {_again(of)}")
    return facts


def current_facts(partition: Partition, of: str) -> IndexFacts:
    """What is known of an index that covers the partition as it is.

    Raises:
        TableError: there is none, or it is stale.
    """
    facts = read_facts(partition, of)
    where = partition.paths.root
    if facts is None:
        raise TableError(f"no index of {of} in {where}: {_build(of)}, or leave --index out")
    if facts.commit != partition.commit:
        raise TableError(
            f"the index of {of} in {where} is stale, it covers commit {facts.commit} and commit "
            f"{partition.commit} has changed the windows: {_again(of)}, or leave --index out"
        )
    return facts


def publish(partition: Partition, facts: IndexFacts) -> None:
    """Let an index be the partition's; files of earlier ones, and of builds that died, are removed.

    Raises:
        RunError: another build that ended meanwhile has removed its files.
    """
    if not all(storage.is_object(place_of(partition, name)) for name in (facts.index, facts.keys)):
        raise RunError(f"another l3flow index has run at the same time: {_again(facts.of)}")
    write_json(place_of(partition, f"{facts.of}.json"), asdict(facts))
    _clear(partition, facts.of, keep={facts.index, facts.keys})


def drop(partition: Partition, of: str) -> bool:
    """Remove an index; whether there was one.

    Raises:
        RunError: nothing can be removed there.
    """
    place = place_of(partition, f"{of}.json")
    there = storage.is_object(place)
    with changing(partition):
        storage.remove(place)
        _clear(partition, of, keep=set())
    return there


@contextmanager
def changing(partition: Partition) -> Iterator[None]:
    """Let files of indexes that cannot be written or removed be one error, of the table.

    Raises:
        RunError: such a file.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if not str(error.filename).startswith(partition.paths.neighbours(partition.fingerprint)):
            raise  # of what is read
        root, why = partition.paths.root, error.strerror or error
        raise RunError(f"the index lies in the table, and {root} cannot be changed: {why}") from None


def _clear(partition: Partition, of: str, keep: set[str]) -> None:
    for suffix in (".faiss", ".parquet"):
        folder = partition.paths.neighbours(partition.fingerprint)
        for name in storage.names_below(folder, suffix=suffix):
            if name.startswith(f"{of}-") and name not in keep:
                storage.remove(place_of(partition, name))


@contextmanager
def loaded(partition: Partition, facts: IndexFacts) -> Iterator[Any]:
    """The index, of which a search reads what it needs from the disk.

    Raises:
        TableError: it is missing, damaged, or something else.
    """
    faiss = faiss_module()
    place = place_of(partition, facts.index)
    with _on_disk(place) as file:
        if file is None:
            raise TableError(f"{place} is missing: {_again(facts.of)}")
        if checksum_of(file) != facts.checksum:
            raise TableError(f"{place} is damaged: {_again(facts.of)}")
        try:
            index = faiss.read_index(file.name, faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
        except RuntimeError:
            raise TableError(f"{place} is no index of FAISS: {_again(facts.of)}") from None
        found = (index.d, index.ntotal, getattr(index, "nlist", None))
        if found != (facts.size, facts.vectors, facts.lists):
            raise TableError(f"{place} is another index than it should be: {_again(facts.of)}")
        yield index


@contextmanager
def _on_disk(place: str) -> Iterator[BinaryIO | None]:
    """An object as an open file of this machine: a copy if it is elsewhere; None if it is missing."""
    with ExitStack() as stack:
        try:
            source = stack.enter_context(storage.reading(place))
        except FileNotFoundError:
            yield None
            return
        if is_disk(storage.filesystem(place)[0]):
            yield source
            return
        copy = stack.enter_context(tempfile.NamedTemporaryFile(prefix="l3flow-index-"))
        shutil.copyfileobj(source, copy, CHUNK_BYTES)
        copy.seek(0)
        yield cast(BinaryIO, copy)


def read_keys(partition: Partition, facts: IndexFacts, wanted: Collection[int]) -> dict[int, dict]:
    """Keys of some vectors, by their place in the index; row groups without any are not read.

    Raises:
        TableError: the file is missing or damaged.
    """
    found: dict[int, dict] = {}
    with _keys(partition, facts) as parquet:
        begin = 0
        for group in range(parquet.num_row_groups):
            end = begin + parquet.metadata.row_group(group).num_rows
            here = sorted({place for place in wanted if begin <= place < end})
            if here:
                rows = parquet.read_row_group(group).take([place - begin for place in here])
                found |= zip(here, rows.to_pylist())
            begin = end
    return found


def own_places(partition: Partition, facts: IndexFacts, clips: Sequence[str]) -> dict[str, list[int]]:
    """Places of the vectors of some clips in the index."""
    from l3core.table.row_groups import groups_with

    found: dict[str, list[int]] = {clip: [] for clip in clips}
    ordered = pa.array(sorted(found), pa.string())
    with _keys(partition, facts) as parquet:
        chosen, begin = set(groups_with(parquet, ordered)), 0
        for group in range(parquet.num_row_groups):
            if group in chosen:
                ids = parquet.read_row_group(group, ["clip_id"])["clip_id"].to_pylist()
                for row, clip in enumerate(ids):
                    if clip in found:
                        found[clip].append(begin + row)
            begin += parquet.metadata.row_group(group).num_rows
    return found


@contextmanager
def _keys(partition: Partition, facts: IndexFacts) -> Iterator[pq.ParquetFile]:
    place = place_of(partition, facts.keys)
    try:
        with storage.reading(place) as file:
            parquet = pq.ParquetFile(file, page_checksum_verification=True)
            if parquet.metadata.num_rows != facts.vectors or parquet.schema_arrow != KEYS:
                raise TableError(f"{place} is another file than it should be: {_again(facts.of)}")
            yield parquet
    except FileNotFoundError:
        raise TableError(f"{place} is missing: {_again(facts.of)}") from None
    except (pa.ArrowException, OSError) as error:
        # of a damaged page Arrow says OSError and nothing more; stores have kinds of their own
        if isinstance(error, OSError) and type(error) is not OSError:
            raise
        raise TableError(f"{place} is damaged: {_again(facts.of)}") from error


def _build(of: str) -> str:
    return f"run l3flow index --of {of}"


def _again(of: str) -> str:
    return f"{_build(of)} again"
