"""The reference of a spec: made once, read by every worker, and told of in the receipt."""

import json
import threading

import numpy as np
import pytest

from l3core import conformance, storage
from l3core.embedding import Embedder
from l3core.errors import RunError, TableError
from l3core.table.layout import TablePaths
from l3core.table.maintenance import drop_spec
from l3core.table.reference import check_conformance
from l3core.table.shard import embed_shard
from tests.corpus import SPEC, PlainRun, write_files


@pytest.fixture
def paths(tmp_path):
    return TablePaths(str(tmp_path / "table"))


@pytest.fixture
def embedder():
    return Embedder(SPEC)


def kept(paths, embedder):
    return json.loads(storage.read_bytes(paths.reference(embedder.fingerprint)))


def test_the_first_worker_makes_it_and_others_read_it(paths, embedder, monkeypatch):
    assert check_conformance(paths, embedder).deviation.value == 0.0
    there = kept(paths, embedder)
    monkeypatch.setattr(conformance, "make_reference", None)
    assert check_conformance(paths, embedder).deviation == ("relative_l2", 0.0, 1e-4)
    assert kept(paths, embedder) == there
    assert there["versions"]["numpy"] == np.__version__


def test_workers_that_begin_together_agree_on_one(paths, embedder):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(check_conformance(paths, embedder)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.deviation.value for each in found} == {0.0}
    assert len({each.reference for each in found}) == 1
    assert storage.names_below(f"{paths.ours}/reference", suffix="") == [f"{embedder.fingerprint}.json"]


def test_a_worker_that_differs_is_refused_and_leaves_it_alone(paths, embedder):
    check_conformance(paths, embedder)
    there = kept(paths, embedder)
    embedder.engine._offset = embedder.engine._offset * np.float32(1.01)
    with pytest.raises(RunError, match="computes other numbers than the reference"):
        check_conformance(paths, embedder)
    assert kept(paths, embedder) == there


@pytest.mark.parametrize(
    "change",
    [
        {"vectors": "AAAA"},
        {"vectors": "no base64"},
        {"vectors": None},
        {"noise_seed": 1},
    ],
)
def test_a_damaged_one_is_an_error_that_says_what_to_do(paths, embedder, change):
    check_conformance(paths, embedder)
    uri = paths.reference(embedder.fingerprint)
    storage.write_bytes(uri, json.dumps(kept(paths, embedder) | change).encode())
    with pytest.raises(TableError, match="remove it, and the next run makes it again"):
        check_conformance(paths, embedder)


def test_a_spec_that_is_dropped_takes_its_reference_along(tmp_path, paths, embedder):
    run = PlainRun(write_files(tmp_path / "corpus", 1), paths.root, "run-1").all()
    check_conformance(paths, embedder)
    assert storage.is_object(paths.reference(run.plan.fingerprint))
    drop_spec(paths, run.plan.fingerprint, "run-2")
    assert not storage.is_object(paths.reference(run.plan.fingerprint))


def test_what_was_held_against_another_reference_is_not_taken_over(tmp_path, paths, monkeypatch):
    """A machine of nonsense makes the reference, and does a shard; then the reference is removed."""
    corpus = write_files(tmp_path / "corpus", 3)
    first = PlainRun(corpus, paths.root, "run-1").make_plan()
    engine = first.embedder.engine
    right, engine._offset = engine._offset, engine._offset * np.float32(2)
    with monkeypatch.context() as patched:
        patched.setattr(conformance, "load_reference", lambda spec, weights: engine)
        wrong = check_conformance(paths, first.embedder)
    embed_shard(paths, "run-1", first.plan.to_embed[0].name, first.embedder, conformance=wrong)
    engine._offset = right
    storage.remove(paths.reference(first.embedder.fingerprint))
    second = PlainRun(corpus, paths.root, "run-2").make_plan()
    assert [shard for shard in second.plan.shards if shard.adopted] == []
    assert sum(shard.pieces for shard in second.plan.to_embed) == 3


def test_what_was_held_against_the_same_reference_is_taken_over(tmp_path, paths):
    corpus = write_files(tmp_path / "corpus", 3)
    first = PlainRun(corpus, paths.root, "run-1").make_plan()
    conforms = check_conformance(paths, first.embedder)
    embed_shard(paths, "run-1", first.plan.to_embed[0].name, first.embedder, conformance=conforms)
    second = PlainRun(corpus, paths.root, "run-2").make_plan()
    assert len([shard for shard in second.plan.shards if shard.adopted]) == 1
