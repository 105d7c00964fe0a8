"""Other engines read every value of an awkward table, and the README tells how they do."""

import numpy as np
import pyarrow as pa
import pytest

from tests.contract.awkward import CLIPS, SIZES
from tests.contract.comparing import compare
from tests.contract.consumers import CONSUMERS
from tests.contract.measure import BEGIN, HEAD, AwkwardTables, line_of, readme_table

# What a consumer is known not to read, and what it says.
REFUSED = {"fastparquet": {"compact": "NotImplementedError: Encoding 9"}}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return AwkwardTables(tmp_path_factory.mktemp("contract"))


def test_the_table_is_as_awkward_as_it_says(tables):
    ledger = tables.truth["clips"]
    assert sorted(zip(ledger["clip_id"].to_pylist(), ledger["status"].to_pylist())) == sorted(
        [*CLIPS.items()] * 2
    )
    for size, spec in tables.specs.items():
        windows = tables.truth[f"{size}-d"]
        silent = windows.filter(windows["silent"])["clip_id"].to_pylist()
        assert set(silent) == {"silent.wav"}
        vectors = windows["embedding"].combine_chunks().flatten().to_numpy()
        assert len(vectors) == size * len(windows)
        assert {0.0, float(np.float32(1e-45)), float(np.float32(-3.4028235e38))} <= set(vectors.tolist())
        files = list((tables.folder / "table/windows" / f"spec={spec}").iterdir())
        assert len(files) > 10
        assert max(groups_of(file) for file in files) > 5
    assert tables.truth["512-d without ARROW:schema"].equals(tables.truth["512-d"])
    stripped = next(tables.parts["512-d without ARROW:schema"].iterdir())
    assert b"ARROW:schema" not in (pa.parquet.read_metadata(stripped).metadata or {})


def groups_of(file):
    return pa.parquet.read_metadata(file).num_row_groups


@pytest.mark.parametrize("name", CONSUMERS)
def test_a_consumer_reads_every_value(name, tables):
    measured = tables.measured(name)
    assert measured.errors == REFUSED.get(name, {})
    assert {part: found.wrong for part, found in measured.compared.items() if found.wrong} == {}
    assert measured.compared.keys() | measured.errors.keys() == tables.parts.keys()


@pytest.mark.parametrize("name", CONSUMERS)
def test_the_readme_says_what_was_measured(name, tables):
    assert line_of(name, tables.measured(name)) in readme_table(), "make consumers writes it again"


def test_the_readmes_table_has_these_consumers_only():
    table = readme_table()
    assert table.startswith(HEAD), BEGIN
    assert len(table.splitlines()) == len(HEAD.splitlines()) + len(CONSUMERS)


def one_bit(rows):
    vectors = rows["embedding"].combine_chunks().flatten().to_numpy().copy()
    vectors.view(np.uint32)[-1] ^= 1
    changed = pa.FixedSizeListArray.from_arrays(pa.array(vectors), SIZES[0])
    return rows.set_column(4, "embedding", changed)


def halves(rows):
    """Vectors that have become float16, as something in between may do."""
    narrow = rows["embedding"].combine_chunks().flatten().to_numpy().clip(-6e4, 6e4).astype(np.float16)
    changed = pa.FixedSizeListArray.from_arrays(pa.array(narrow.astype(np.float64)), SIZES[0])
    return rows.set_column(4, "embedding", changed)


def ragged(rows):
    vectors = rows["embedding"].to_pylist()
    vectors[1] = vectors[1] + vectors[2][:1]
    vectors[2] = vectors[2][1:]
    return rows.set_column(4, "embedding", pa.array(vectors, pa.list_(pa.float32())))


def renamed(rows):
    ids = [clip.replace("\u0308", "") for clip in rows["clip_id"].to_pylist()]
    return rows.set_column(0, "clip_id", pa.array(ids))


def as_numbers(rows):
    return rows.set_column(3, "silent", rows["silent"].cast(pa.int8()))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (one_bit, ["embedding"]),
        (halves, ["embedding"]),
        (ragged, ["embedding"]),
        (renamed, ["clip_id"]),
        (as_numbers, ["silent"]),
        (lambda rows: rows.slice(1), ["156 rows of 157"]),
        (lambda rows: rows.append_column("spec", pa.array(["1"] * len(rows))), ["spec"]),
        (lambda rows: rows.drop(["silent"]), ["columns ['clip_id', 'embedding', 'start_s', 'window']"]),
        (lambda rows: rows.take(list(reversed(range(len(rows))))), []),
    ],
)
def test_the_comparison_sees_what_is_wrong(change, told, tables):
    truth = tables.truth["512-d"]
    assert compare(change(truth), truth, tables.specs[512]).wrong == told


def test_the_comparison_sees_another_moment(tables):
    truth = tables.truth["clips"]
    where = truth.column_names.index("embedded_at")
    later = [
        when.replace(microsecond=(when.microsecond + 1) % 10**6) for when in truth[where].to_pylist()
    ]
    other = truth.set_column(where, "embedded_at", pa.array(later, truth.schema.field(where).type))
    assert compare(other, truth, tables.runs).wrong == ["embedded_at"]
