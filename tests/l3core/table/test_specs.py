"""What each spec of a table holds, counted by hand."""

import pytest

from l3core import storage
from l3core.errors import TableError
from l3core.spec import EmbeddingSpec
from l3core.table.layout import TablePaths
from l3core.table.limits import Limits
from l3core.table.maintenance import drop_spec
from l3core.table.specs import list_specs
from l3core.table.state import load_state
from tests.corpus import PlainRun, write_audio, write_files

A, B, C = (
    EmbeddingSpec(model="fake", engine="fake", weights="random:0", hop_s=hop_s)
    for hop_s in (0.25, 0.5, 1.0)
)


@pytest.fixture
def table(tmp_path):
    return tmp_path / "table"


@pytest.fixture
def corpus(tmp_path):
    """000 to 003 in one folder, 004 and 005 in another, and a file that is no audio."""
    write_files(tmp_path / "corpus/one", 4)
    write_files(tmp_path / "corpus/two", 2, first=4)
    (tmp_path / "corpus/two/text.wav").write_text("these are no samples")
    return tmp_path / "corpus"


def embed(corpus, table, number, spec, **rules):
    return PlainRun(corpus, table, f"run-{number}", spec=spec, **rules).all().plan.fingerprint


def listed(table):
    paths = TablePaths(str(table))
    return {facts.fingerprint: facts for facts in list_specs(paths, load_state(paths))}


@pytest.fixture
def three(corpus, table):
    """A has all, B the second folder, C the first one: below the root of the first run."""
    return [
        embed(corpus, table, 1, A),
        embed(corpus / "two", table, 2, B),
        embed(corpus / "one", table, 3, C),
    ]


def test_three_specs_of_partly_the_same_clips(table, three):
    facts = listed(table)
    a, b, c = (facts[fingerprint] for fingerprint in three)
    assert (a.clips, b.clips, c.clips) == (6, 2, 4)
    # 1 s has 4000 samples, and so 1 + ceil((4000 + 500 - 1000) / hop) centred windows of 1000: 5 with a
    # hop of 1000 samples, 3 with 2000, 2 with 4000
    assert (a.windows, b.windows, c.windows) == (6 * 5, 2 * 3, 4 * 2)
    assert (a.statuses, b.statuses, c.statuses) == (
        {"ok": 6, "unreadable": 1},
        {"ok": 2, "unreadable": 1},
        {"ok": 4},
    )
    names = dict(zip(three, "abc"))
    shared = [{names[other]: count for other, count in each.shared.items()} for each in (a, b, c)]
    assert shared == [{"b": 2, "c": 4}, {"a": 2, "c": 0}, {"a": 4, "b": 0}]
    assert [each.spec["hop_s"] for each in (a, b, c)] == [0.25, 0.5, 1.0]


def test_files_and_bytes_are_those_of_the_windows(table, three):
    for fingerprint, facts in listed(table).items():
        sizes = [path.stat().st_size for path in table.glob(f"windows/spec={fingerprint}/*.parquet")]
        assert (facts.files, facts.bytes) == (len(sizes), sum(sizes))


def test_clips_that_are_gone_count_until_they_are_pruned(corpus, table, three):
    a, b, _ = three
    (corpus / "two/004.wav").unlink()
    write_audio(corpus / "two/006.wav", seed=6)
    embed(corpus, table, 4, A)
    facts = listed(table)
    assert facts[a].statuses == {"ok": 6, "unreadable": 1, "gone": 1}
    assert (facts[a].clips, facts[a].windows) == (7, 35)
    assert (facts[a].shared[b], facts[b].shared[a]) == (2, 2)  # 004, whose windows are there, and 005
    assert facts[b].statuses == {"ok": 2, "unreadable": 1}  # B has not looked since
    embed(corpus / "two", table, 5, B, prune=True, limits=Limits(allow_shrink=True))
    facts = listed(table)
    assert facts[b].statuses == {"ok": 2, "unreadable": 1, "gone": 1}
    assert (facts[b].clips, facts[b].windows) == (2, 6)  # 005 and 006
    assert (facts[a].shared[b], facts[b].shared[a]) == (2, 2)


def test_a_table_of_which_all_was_dropped(table, three):
    paths = TablePaths(str(table))
    for number, fingerprint in enumerate(three):
        drop_spec(paths, fingerprint, f"drop-{number}")
    assert listed(table) == {}


def test_a_missing_spec_file_is_told_as_such(table, three):
    storage.remove(TablePaths(str(table)).spec(three[1]))
    with pytest.raises(TableError, match=rf"{three[1]}.json is missing: l3flow repair"):
        listed(table)
