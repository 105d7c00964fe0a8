"""Indexes: as good as they say, of one state of the table, and refused where they are not."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from l3core.checksums import checksum_of
from l3core.errors import RunError, TableError
from l3core.search.approximate import nearest_by_index
from l3core.search.building import build_index, needed_bytes
from l3core.search.exact import nearest
from l3core.search.index_files import drop, publish, read_facts
from l3core.search.queries import clip_queries
from l3core.search.ranking import Search
from l3core.search.sampling import Sample, Truth, draw_sample
from l3core.search.vectors import Partition, Rows
from l3core.spec import EmbeddingSpec
from l3core.table.layout import TablePaths
from l3core.table.maintenance import drop_spec
from l3core.table.state import existing_state
from l3core.table.verify import verify_table
from launch.benchmarks.similar import make_table
from launch.benchmarks.vectors import Part, write_table
from tests.corpus import PlainRun, replace_file, write_files

REPO = Path(__file__).parents[3]
SPEC = EmbeddingSpec(model="edgel3-sea-64", weights="random:0", hop_s=0.5)
CLIPS = 300


def partition_of(table):
    paths = TablePaths(str(table))
    state = existing_state(paths)
    return Partition(paths, state, state.fingerprints[0])


def folder_of(partition):
    return Path(partition.paths.neighbours(partition.fingerprint))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Clips of up to nine windows around twenty centres; some windows silent, some zero."""
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((20, SPEC.size))
    parts = []
    for number in range(CLIPS):
        count = int(generator.integers(1, 10))
        own = centres[number % 20] + 0.7 * generator.standard_normal(SPEC.size)
        vectors = (own + 0.7 * generator.standard_normal((count, SPEC.size))).astype(np.float32)
        vectors[generator.random(count) < 0.02] = 0.0
        parts.append(Part(f"{number:03d}.wav", vectors, silent=generator.random(count) < 0.1))
    folder = tmp_path_factory.mktemp("index") / "table"
    write_table(folder, SPEC, [parts[:140], parts[140:]], without=["text.wav"])
    return folder


@pytest.fixture
def indexed(table):
    """(partition with an index of clips, its facts)."""
    partition = partition_of(table)
    yield partition, build_index(partition, of="clips")
    for of in ("clips", "windows"):
        drop(partition, of)
    assert not any(folder_of(partition).iterdir())


SEARCHES = [
    ("clips", Search(k=10)),
    ("windows", Search(k=10, by="window", per="window")),
    ("windows", Search(k=10, by="window")),
    ("windows", Search(k=10, per="window")),
    ("windows", Search(k=10, by="window", itself=True)),
]


@pytest.mark.parametrize(("of", "search"), SEARCHES)
def test_where_all_lists_are_read_nothing_is_missed(indexed, of, search):
    partition, _ = indexed
    facts = build_index(partition, of=of, recall=1.0)
    assert facts.recall == 1.0
    clips = [f"{number:03d}.wav" for number in (0, 17, 139, 140, 299)]
    queries = clip_queries(partition, clips, by=search.by)
    answers = nearest_by_index(partition, queries, search), nearest(partition, queries, search)
    missed = 0
    for found, exact in zip(*answers):
        assert len(found) == search.k
        keys = [{(one.clip_id, one.window) for one in answer} for answer in (found, exact)]
        missed += len(keys[1] - keys[0])
        same = {(one.clip_id, one.window): one for one in exact}
        for one in found:
            if other := same.get((one.clip_id, one.window)):
                assert one.similarity == pytest.approx(other.similarity, abs=1e-5)
                assert (one.start_s, one.query_start_s) == (other.start_s, other.query_start_s)
    assert missed <= 1  # the recall is of a sample


@pytest.mark.parametrize("stored", ["f32", "f16", "i8"])
def test_the_recall_is_that_of_searches(indexed, stored):
    """The same queries by the two searches that people use."""
    partition, _ = indexed
    facts = build_index(partition, of="clips", stored=stored, recall=0.8)
    clips = list(draw_sample(partition, "clips").clips[: facts.queries])
    queries = clip_queries(partition, clips, by="mean")
    pairs = zip(
        nearest_by_index(partition, queries, Search()),
        nearest(partition, queries, Search()),
        strict=True,
    )
    hits = sum(len({n.clip_id for n in a} & {n.clip_id for n in b}) for a, b in pairs)
    assert facts.recall == pytest.approx(hits / (10 * len(queries)), abs=0.002)
    assert 0.8 <= facts.recall < 1
    assert facts.probes < facts.lists


def test_numbers_of_fewer_bytes_make_a_smaller_file(indexed):
    partition, f32 = indexed
    sizes = [build_index(partition, of="clips", stored=stored).index_bytes for stored in ("f16", "i8")]
    assert f32.index_bytes > 1.5 * sizes[0] > 2 * sizes[1]


def test_a_query_is_not_its_own_neighbour_in_the_truth():
    """Three clips in a plane at 0, 10 and 80 degrees, the first with two windows."""
    angles = np.radians([0, 1, 10, 80])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    clips = np.array(["a", "b"], object)
    truth = Truth(Sample(vectors[[0, 2]], clips))
    nothing = np.zeros(4)
    truth.add(Rows(["a", "b", "c"], np.array([0, 2, 3]), nothing, nothing, nothing > 0, vectors))
    assert [sorted(row[row >= 0]) for row in truth.places] == [[2, 3], [0, 1, 3]]
    assert truth.own == {"a": [0, 1], "b": [2]}


def test_an_index_of_another_state_is_refused(tmp_path):
    corpus, table = write_files(tmp_path / "corpus", 6), tmp_path / "table"
    PlainRun(corpus, table, "run-1").all()
    partition = partition_of(table)
    with pytest.raises(TableError, match=r"no index of clips in .*: run l3flow index --of clips, or"):
        nearest_by_index(partition, clip_queries(partition, ["000.wav"], by="mean"), Search())
    build_index(partition, of="clips")
    old = {path.name for path in folder_of(partition).iterdir()}
    replace_file(corpus / "001.wav", 1.5, seed=9)
    PlainRun(corpus, table, "run-2").all()
    partition = partition_of(table)
    queries = clip_queries(partition, ["000.wav"], by="mean")
    with pytest.raises(TableError, match="is stale, it covers commit 1 and commit 2 has changed"):
        nearest_by_index(partition, queries, Search())
    # what a builder left that was killed goes with the old one
    (folder_of(partition) / "clips-00000001-dead.faiss").write_bytes(b"half")
    build_index(partition, of="clips")
    assert len(nearest_by_index(partition, queries, Search())[0]) == 5
    now = {path.name for path in folder_of(partition).iterdir()}
    assert len(now) == 3
    assert old & now == {"clips.json"}
    assert not any("neighbours" in finding.path for finding in verify_table(partition.paths))
    drop_spec(partition.paths, partition.fingerprint, "run-3")
    assert list(Path(table).glob("_l3flow/neighbours/*/*")) == []


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def set_checksum(partition, facts, **others):
    """Let the facts say that the file is what it is now."""
    with open(folder_of(partition) / facts.index, "rb") as file:
        changed = vars(replace(facts, checksum=checksum_of(file), **others))
    (folder_of(partition) / "clips.json").write_text(json.dumps(changed))


def test_a_damaged_or_foreign_index_is_refused(indexed, tmp_path):
    partition, facts = indexed
    queries = clip_queries(partition, ["000.wav"], by="mean")
    index, keys, described = (folder_of(partition) / n for n in (facts.index, facts.keys, "clips.json"))
    content = index.read_bytes()

    def refused(match):
        with pytest.raises(TableError, match=rf"{match}.*run l3flow index --of clips again"):
            nearest_by_index(partition, queries, Search())

    flipped = bytearray(content)
    flipped[len(flipped) // 2] ^= 1
    for damaged in (flipped, content[:-9], b""):
        index.write_bytes(damaged)
        refused(rf"{index.name} is damaged")
    for foreign in (pickle.dumps(Bomb(tmp_path / "run")), content[:-9], b"", b"IxFI" + bytes(100)):
        index.write_bytes(foreign)
        set_checksum(partition, facts)
        refused(rf"{index.name} is (no index of FAISS|another index)")
    assert not (tmp_path / "run").exists()
    index.write_bytes(content)
    set_checksum(partition, facts, lists=facts.lists + 1)
    refused(rf"{index.name} is another index")
    set_checksum(partition, facts)
    whole = keys.read_bytes()
    keys.write_bytes(whole[:40] + bytes(40) + whole[80:])
    refused(rf"{keys.name} is damaged")
    keys.write_bytes(b"PAR1")
    refused(rf"{keys.name} is damaged")
    keys.unlink()
    refused(rf"{keys.name} is missing")
    keys.write_bytes(whole)
    index.unlink()
    refused(rf"{index.name} is missing")
    for changed in ({"index": "../../x"}, {"vectors": "many"}, {"format": "other"}):
        described.write_text(json.dumps(vars(facts) | changed))
        refused(r"clips\.json is (damaged|no index)")
    described.write_bytes(b"{")
    with pytest.raises(TableError, match=r"clips\.json is damaged, it is no JSON"):
        nearest_by_index(partition, queries, Search())


def test_an_index_that_is_a_link_to_elsewhere_is_not_read(indexed, tmp_path):
    partition, facts = indexed
    queries = clip_queries(partition, ["000.wav"], by="mean")
    for name in (facts.index, facts.keys, "clips.json"):
        place = folder_of(partition) / name
        shutil.move(place, tmp_path / name)
        place.symlink_to(tmp_path / name)
        with pytest.raises(TableError, match=rf"{name}' leads out of the table"):
            nearest_by_index(partition, queries, Search())
        place.unlink()
        shutil.move(tmp_path / name, place)
    assert len(nearest_by_index(partition, queries, Search())[0]) == 10


def test_of_two_that_build_at_once_the_later_is_told(indexed):
    """The one that ends first takes the other's files for those of a build that died."""
    partition, facts = indexed
    (folder_of(partition) / "clips-00000001-other.faiss").write_bytes(b"being written")
    publish(partition, facts)
    other = replace(facts, index="clips-00000001-other.faiss")
    with pytest.raises(RunError, match="another l3flow index has run at the same time"):
        publish(partition, other)
    assert read_facts(partition, "clips") == facts


def test_nothing_but_silence_is_no_index(tmp_path):
    ones = np.ones((2, SPEC.size), np.float32)
    write_table(tmp_path, SPEC, [[Part("a.wav", ones, silent=ones[:, 0] > 0), Part("b.wav", 0 * ones)]])
    with pytest.raises(TableError, match="nothing to index: no clips that are not silent"):
        build_index(partition_of(tmp_path), of="clips")


PEAK = """
import sys
from l3core.search.building import build_index
from launch.benchmarks.similar import open_partition
from launch.memory import peak_rss_bytes
facts = build_index(open_partition(sys.argv[1]), of="windows", stored="i8")
print(facts.vectors, peak_rss_bytes())
"""


def test_building_keeps_to_the_memory_that_it_says(tmp_path):
    make_table(tmp_path, 700)
    needed = needed_bytes(partition_of(tmp_path), "windows", "i8")
    command = [sys.executable, "-c", PEAK, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(REPO)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    vectors, peak = map(int, done.stdout.split())
    assert vectors == 700 * 36
    assert peak < needed
    assert read_facts(partition_of(tmp_path), "windows").stored == "i8"
