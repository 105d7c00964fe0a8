"""Which objects are embedded again, and which rows change without: clip by clip, and in whole runs."""

import dataclasses
import os
import uuid
from datetime import datetime, timezone

import pytest

from l3core import storage
from l3core.checksums import checksum_in, checksum_of
from l3core.listing import list_inputs, parse_input
from l3core.storage import StoredObject, absent
from l3core.table import limits as limiting
from l3core.table import plan as planning
from l3core.table.changes import drops, settle
from l3core.table.delta import Note, Rules, Tally, Work, find_work
from l3core.table.layout import LedgerRow
from l3core.table.ledger import Known
from l3core.table.limits import Limits
from l3core.table.manifests import Joined, PieceRow, join_pieces
from l3core.table.planned import Plan
from tests.corpus import (
    PlainRun,
    expected_rows,
    ledger,
    replace_file,
    snapshot,
    table_rows,
    write_audio,
    write_files,
)

FILE = "windows/spec=s1/a.parquet"
NAMED = Rules(named=lambda uri: uri.startswith("/corpus/"))


def known(clip_id="a", *, status="ok", error=None, checksum=None, written=5, **values):
    fields = {"uri": f"/corpus/{clip_id}", "size_bytes": 10, "version": "1"} | values
    return Known(
        clip_id=clip_id,
        checksum=checksum,
        status=status,
        error=error,
        windows_expected=5,
        windows_written=written,
        files=[FILE] if written else [],
        **fields,
    )


def listed(clip_id="a", *, size=10, version="1", checksum=None):
    return StoredObject(f"/corpus/{clip_id}", size, version, checksum)


def decide(row, found, rules=NAMED):
    """(what it is, the item) of one clip."""
    tally = Tally()
    items = list(
        find_work(
            iter([row] if row else []),
            [found] if found else [],
            root="/corpus",
            rules=rules,
            tally=tally,
        )
    )
    assert len(items) <= 1
    return next(iter(tally.counts), None), items[0] if items else None


def note(kind, clip_id="a", **values):
    return Note(clip_id, kind, **values)


@pytest.mark.parametrize(
    ("row", "found", "verdict", "embedded"),
    [
        (None, listed(), "new", True),
        (known(), listed(), "unchanged", False),
        (known(), listed(size=11), "changed", True),
        (known(), listed(version="2"), "changed", True),
        # the same content under a new version is the same; other content under the same size is not
        (known(checksum="md5:1"), listed(version="2", checksum="md5:1"), "unchanged", False),
        (known(checksum="md5:1"), listed(version="2", checksum="md5:2"), "changed", True),
        (known(checksum="md5:1"), listed(version="1", checksum="md5:2"), "changed", True),
        # checksums of two kinds say nothing of each other
        (known(checksum="crc32c:1"), listed(checksum="md5:2"), "unchanged", False),
        (known(checksum="crc32c:1"), listed(version="2", checksum="md5:2"), "changed", True),
        (known(status="unreadable", error="no audio", written=0), listed(), "failed before", False),
        (known(status="empty", error="no samples", written=0), listed(), "failed before", False),
        (known(status="truncated", error="cut", written=3), listed(), "unchanged", False),
        (known(status="changed", error="x", written=0), listed(), "retried", True),
        (known(status="vanished", error="x", written=0), listed(), "retried", True),
        (known(status="storage-error", error="x", written=0), listed(), "retried", True),
        # a good row whose last try failed for a reason that passes
        (known(error="storage-error: the wire is cut"), listed(), "retried", True),
        (known(status="gone", error="x"), listed(version="2"), "changed", True),
        (known(status="gone", error="x", written=0), listed(), "new", True),  # its windows were pruned
        (known(status="gone", error="x", written=3), listed(), "new", True),  # it was cut
    ],
)
def test_what_an_object_is(row, found, verdict, embedded):
    assert decide(row, found)[0] == verdict
    item = decide(row, found)[1]
    assert isinstance(item, Work) == embedded
    assert isinstance(decide(row, found, Rules(full=True))[1], Work)


def test_unreadable_files_are_tried_again_only_when_asked():
    rules = Rules(retry_unreadable=True)
    broken = known(status="unreadable", error="no audio", written=0)
    assert decide(broken, listed(), rules) == ("retried", Work("a", listed()))
    assert decide(known(status="empty", error="x", written=0), listed(), rules)[1] is None


def test_the_same_content_under_another_version_or_place_is_noted():
    row = known(checksum="md5:1")
    found = listed(version="2", checksum="md5:1")
    expected = note("seen", uri="/corpus/a", size_bytes=10, version="2", checksum="md5:1")
    assert decide(row, found) == ("unchanged", expected)


def test_what_is_back_is_noted():
    expected = note("back", uri="/corpus/a", size_bytes=10, version="1")
    assert decide(known(status="gone", error="x"), listed()) == ("back", expected)


@pytest.mark.parametrize(
    ("row", "rules", "kind"),
    [
        (known(), NAMED, "gone"),
        (known(status="unreadable", written=0), NAMED, "gone"),
        (known(status="gone"), NAMED, None),  # known to be
        (known(), Rules(), None),  # the listing is not complete
        (known(uri="/elsewhere/a"), NAMED, None),  # tonight's patterns do not name it
        (known(), Rules(named=NAMED.named, prune=True), "pruned"),
        (known(status="gone"), Rules(named=NAMED.named, prune=True), "pruned"),
        (known(status="unreadable", written=0), Rules(named=NAMED.named, prune=True), "gone"),
        (known(status="gone", written=0), Rules(named=NAMED.named, prune=True), None),
    ],
)
def test_what_is_not_listed(row, rules, kind):
    assert decide(row, None, rules) == (None, note(kind) if kind else None)


def test_what_is_named_and_not_there():
    """By a list, or a link to nowhere: no model has to be loaded for it."""
    found = absent("/corpus/a")
    assert decide(None, found) == ("not there", note("vanished", uri="/corpus/a"))
    assert decide(known(status="vanished", written=0), found) == ("not there", None)
    assert decide(known(), found) == ("not there", note("gone"))


def test_counts():
    rows = [
        known("a"),
        known("b", status="gone"),
        known("c", written=0, status="unreadable"),
        known("d"),
        known("e"),
    ]
    found = [listed("a", size=11), listed("d"), listed("f")]
    tally = Tally()
    rules = Rules(named=NAMED.named, prune=True)
    items = list(find_work(iter(rows), found, root="/corpus", rules=rules, tally=tally))
    kinds = [item.kind if isinstance(item, Note) else "work" for item in items]
    assert list(zip([item.clip_id for item in items], kinds)) == [
        ("a", "work"),
        ("b", "pruned"),
        ("c", "gone"),
        ("e", "pruned"),
        ("f", "work"),
    ]
    assert tally.counts == {"changed": 1, "unchanged": 1, "new": 1}
    assert (tally.gone, tally.clips, tally.windows) == (3, 4, 20)
    assert (tally.pruned_clips, tally.pruned_windows) == (2, 10)
    assert tally.held[FILE] == 4
    assert tally.dropped[FILE] == 3
    assert tally.to_rewrite() == [FILE]


# What a row becomes


PLAN = Plan(
    run_id="run-2",
    base=1,
    fingerprint="s1",
    spec={},
    weights_digest="",
    root="/corpus",
    started_at="2026-01-01T00:00:00+00:00",
)


def row(status="ok", *, written=5, files=(FILE,), **values):
    fields = {"clip_id": "a", "uri": "/corpus/a", "size_bytes": 10, "version": "1", "run_id": "run-1"}
    return LedgerRow(
        **fields | {"embedded_at": datetime(2026, 1, 1, tzinfo=timezone.utc)} | values,
        status=status,
        windows_expected=5,
        windows_written=written,
        files=files,
    )


NEW_FILE = "windows/spec=s1/b.parquet"


@pytest.mark.parametrize("old", [None, row(), row("truncated", written=3), row("gone")])
def test_a_good_new_row_replaces_the_old(old):
    new = row(files=(NEW_FILE,), version="2")
    assert settle(Joined(new), old, PLAN) == new
    assert drops(Joined(new), old) == ([(FILE, 0)] if old else [])


def test_a_bad_new_version_drops_the_old_windows():
    new = row("unreadable", error="no audio", written=2, files=(NEW_FILE,), version="2")
    settled = settle(Joined(new), row(), PLAN)
    assert (settled.status, settled.windows_written, settled.files) == ("unreadable", 0, ())
    assert drops(Joined(new), row()) == [(FILE, 0), (NEW_FILE, 0)]


@pytest.mark.parametrize(("old", "status"), [("ok", "ok"), ("truncated", "truncated"), ("gone", "ok")])
def test_a_try_that_fails_for_a_reason_that_passes_keeps_good_windows(old, status):
    old = row(old, written=3 if old == "truncated" else 5)
    new = row("changed", error="was replaced", written=1, files=(NEW_FILE,), version="2")
    settled = settle(Joined(new), old, PLAN)
    assert (settled.status, settled.error) == (status, "changed: was replaced")
    assert (settled.version, settled.files, settled.windows_written) == (
        "1",
        (FILE,),
        old.windows_written,
    )
    assert drops(Joined(new), old) == [(NEW_FILE, 0)]


def piece(first, status="ok", *, expected=4, written=4, file=FILE):
    new = row(
        status, written=written, files=(file,) if written else (), error=None if status == "ok" else "x"
    )
    return PieceRow(dataclasses.replace(new, windows_expected=expected), first)


def test_pieces_are_one_recording():
    joined = join_pieces([piece(4, file=NEW_FILE), piece(0), piece(8, expected=1, written=1)])
    assert (joined.row.windows_expected, joined.row.windows_written) == (9, 9)
    assert (joined.row.files, joined.end, joined.beyond) == ((FILE, NEW_FILE), None, ())


def test_what_breaks_off_in_a_piece_ends_the_recording():
    """As it does for one that is read in one go: windows behind were decoded from who knows what."""
    cut = piece(4, "truncated", written=1, file=FILE)
    joined = join_pieces([piece(0), cut, piece(8, file=NEW_FILE)])
    assert (joined.row.status, joined.row.windows_expected, joined.row.windows_written) == (
        "truncated",
        12,
        5,
    )
    assert (joined.row.files, joined.end, joined.beyond) == ((FILE,), 5, (NEW_FILE,))
    assert drops(joined, row()) == [(FILE, 0), (NEW_FILE, 5)]
    assert join_pieces([piece(0), cut]).end is None


def test_a_lying_header_ends_nothing_before_the_file_does():
    """It is told with each piece, also with those that are whole."""
    pieces = [piece(first, "truncated", written=written) for first, written in ((0, 4), (4, 4), (8, 1))]
    joined = join_pieces([*pieces, piece(12, "truncated", written=0)])
    assert (joined.row.windows_expected, joined.row.windows_written, joined.end) == (16, 9, None)


@pytest.mark.parametrize("status", ["changed", "storage-error"])
def test_what_may_pass_counts_for_all_pieces(status):
    joined = join_pieces([piece(0), piece(4, "truncated", written=1), piece(8, status, written=0)])
    assert joined.row.status == status
    assert drops(joined, None) == [(FILE, 0)]


def test_notes():
    gone = settle(note("gone"), row(), PLAN)
    assert (gone.status, gone.files, gone.windows_written) == ("gone", (FILE,), 5)
    assert gone.error == "not there when run run-2 looked for it"
    pruned = settle(note("pruned"), row(), PLAN)
    assert (pruned.status, pruned.files, pruned.windows_written) == ("gone", (), 0)
    assert drops(note("pruned"), row()) == [(FILE, 0)]
    seen = note("seen", uri="/corpus/a", size_bytes=10, version="2")
    assert settle(seen, row(checksum="md5:1"), PLAN) == row(checksum="md5:1", version="2")
    back = note("back", uri="/corpus/a", size_bytes=10, version="2")
    assert settle(back, row("gone", error="not there"), PLAN) == row(version="2")
    vanished = settle(note("vanished", uri="/corpus/a"), None, PLAN)
    assert (vanished.status, vanished.files, vanished.run_id) == ("vanished", (), "run-2")
    assert all(not drops(other, row()) for other in (note("gone"), seen, back))


# Checksums


def test_checksums_of_stores():
    # RFC 3720 B.4: 32 bytes of zeros have the CRC32C 8a9136aa
    assert checksum_in({"crc32c": "ipE2qg==", "md5Hash": "unused"}) == "crc32c:8a9136aa"
    assert checksum_in({"md5Hash": "1B2M2Y8AsgTpgAmY7PhCfg=="}) == "md5:d41d8cd98f00b204e9800998ecf8427e"
    assert checksum_in({"ETag": '"abc-2"'}) == "etag:abc-2"
    assert checksum_in({"size": 5}) is None


def test_checksums_of_files(tmp_path):
    (tmp_path / "zeros").write_bytes(bytes(32))
    with open(tmp_path / "zeros", "rb") as file:
        assert checksum_of(file) == "crc32c:8a9136aa"
    (tmp_path / "empty").touch()
    with open(tmp_path / "empty", "rb") as file:
        assert checksum_of(file, "md5") == "md5:d41d8cd98f00b204e9800998ecf8427e"


# Whole runs


@pytest.fixture
def corpus(tmp_path):
    return write_files(tmp_path / "corpus", 6)


@pytest.fixture
def table(tmp_path):
    return tmp_path / "table"


def test_the_second_run_computes_only_what_changed(corpus, table):
    PlainRun(corpus, table, "run-1").all()
    replace_file(corpus / "001.wav", 1.5, seed=50)
    (corpus / "002.wav").write_text("no audio any more")
    (corpus / "003.wav").unlink()
    write_audio(corpus / "new.wav", seed=51)
    run = PlainRun(corpus, table, "run-2", prune=True, limits=Limits(allow_shrink=True)).all()
    assert run.record["clips"] == {"ok": 2, "unreadable": 1, "gone": 1}
    assert run.record["matched"] == {"changed": 2, "new": 1, "unchanged": 3}
    assert (run.record["gone"], run.record["pruned"]) == (1, 1)
    assert run.record["windows"] == 7 + 5
    fresh = PlainRun(corpus, table.with_name("fresh"), "run-1").all()
    assert table_rows(table) == table_rows(table.with_name("fresh")) == expected_rows(corpus)
    ours, other = ledger(table), ledger(fresh.paths.root)
    assert ours.keys() - other.keys() == {"003.wav"}
    names = ("status", "error", "version", "checksum", "frames", "windows_expected", "windows_written")
    for clip_id, found in other.items():
        assert [ours[clip_id][name] for name in names] == [found[name] for name in names]


def test_an_unchanged_run_writes_its_record_and_nothing_else(corpus, table):
    PlainRun(corpus, table, "run-1").all()
    before = every_file(table)
    PlainRun(corpus, table, "run-2").all()
    after = every_file(table)
    assert after.keys() - before.keys() == {"runs/run-2.json"}
    assert {path: after[path] for path in before} == before


def every_file(table):
    return {
        path.relative_to(table).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in table.rglob("*")
        if path.is_file()
    }


def test_what_is_gone_keeps_its_windows_until_it_is_pruned(corpus, table):
    PlainRun(corpus, table, "run-1").all()
    rows = table_rows(table)
    away = (corpus / "003.wav").rename(corpus.with_name("away.wav"))
    PlainRun(corpus, table, "run-2").all()
    assert ledger(table)["003.wav"]["status"] == "gone"
    assert table_rows(table) == rows
    assert PlainRun(corpus, table, "run-3").make_plan().plan.empty  # said once
    away.rename(corpus / "003.wav")
    back = PlainRun(corpus, table, "run-4").make_plan()
    assert back.plan.counts == {"unchanged": 5, "back": 1}
    assert back.plan.to_embed == ()
    back.commit()
    assert ledger(table)["003.wav"]["status"] == "ok"
    (corpus / "003.wav").unlink()
    PlainRun(corpus, table, "run-5").all()
    pruned = PlainRun(corpus, table, "run-6", prune=True, limits=Limits(allow_shrink=True)).all()
    assert pruned.record["clips"] == {"gone": 1}
    assert table_rows(table) == expected_rows(corpus)
    assert ledger(table)["003.wav"]["windows_written"] == 0


def test_other_patterns_and_limits_tell_nothing_of_what_they_do_not_name(tmp_path, table):
    corpus = write_files(tmp_path / "corpus/a", 2).parent
    write_files(corpus / "b", 2)
    PlainRun(corpus, table, "run-1").all()
    (corpus / "a/000.wav").unlink()
    assert PlainRun(corpus / "b", table, "run-2").make_plan().plan.gone == 0
    assert PlainRun(corpus / "a", table, "run-3").make_plan().plan.gone == 1
    assert PlainRun(corpus / "a/000.wav", table, "run-4").make_plan().plan.gone == 1
    assert PlainRun(corpus, table, "run-5", named=None).make_plan().plan.gone == 0


def test_pruning_more_than_a_tenth_needs_a_word(corpus, table):
    PlainRun(corpus, table, "run-1").all()
    (corpus / "003.wav").unlink()
    before = every_file(table)
    with pytest.raises(ValueError, match=r"--prune would drop 1 of 6 clips \(5 of 30 windows\)"):
        PlainRun(corpus, table, "run-2", prune=True).make_plan()
    assert every_file(table) == before
    PlainRun(corpus, table, "run-2", prune=True, limits=Limits(allow_shrink=True)).all()
    assert table_rows(table) == expected_rows(corpus)


def test_rewriting_much_needs_a_word(corpus, table, monkeypatch):
    monkeypatch.setattr(planning, "SHARDS_WANTED", 1)
    PlainRun(corpus, table, "run-1").all()
    replace_file(corpus / "001.wav", 1.5, seed=50)
    monkeypatch.setattr(limiting, "MOST_REWRITTEN_BYTES", 100)
    before = every_file(table)
    with pytest.raises(ValueError, match=r"--max-rewrite: .* give at least --max-rewrite 1GB"):
        PlainRun(corpus, table, "run-2").make_plan()
    assert every_file(table) == before
    PlainRun(corpus, table, "run-2", limits=Limits(max_rewrite=10**9)).all()
    assert table_rows(table) == expected_rows(corpus)
    # with all of its clips replaced a file is dropped, not rewritten
    PlainRun(corpus, table, "run-3", full=True).all()
    assert table_rows(table) == expected_rows(corpus)


def test_contents_are_compared_when_asked(corpus, table):
    """A tool that keeps times fools a comparison of versions; `touch` fools it the other way."""
    PlainRun(corpus, table, "run-1").all()
    info = (corpus / "001.wav").stat()
    write_audio(corpus / "001.wav", seed=77)  # as long as before
    os.utime(corpus / "001.wav", ns=(info.st_atime_ns, info.st_mtime_ns))
    os.utime(corpus / "002.wav")
    assert PlainRun(corpus, table, "run-2").make_plan().plan.counts == {"unchanged": 5, "changed": 1}
    run = PlainRun(corpus, table, "run-3", verify_content=True).make_plan()
    assert run.plan.counts == {"unchanged": 5, "changed": 1}
    assert [shard.first_clip for shard in run.plan.to_embed] == ["001.wav"]
    run.embed().commit()
    assert table_rows(table) == expected_rows(corpus)
    assert PlainRun(corpus, table, "run-4").make_plan().plan.empty  # the touched one is known now
    assert PlainRun(corpus, table, "run-5", verify_content=True).make_plan().plan.empty


def test_a_store_that_gives_no_checksums(table):
    """They are computed of what is embedded, so contents can be compared all the same."""
    folder = f"memory://{uuid.uuid4().hex}"
    for number in range(2):
        with storage.writing(f"{folder}/{number}.wav") as file:
            file.write(b"no audio")
    PlainRun(folder, table, "run-1").all()
    assert ledger(table)["0.wav"]["checksum"].startswith("crc32c:")
    assert PlainRun(folder, table, "run-2").make_plan().plan.empty
    assert PlainRun(folder, table, "run-3", verify_content=True).make_plan().plan.empty


def test_a_link_to_nowhere_costs_no_model(corpus, table):
    (corpus / "link.wav").symlink_to(corpus / "nowhere.wav")
    PlainRun(corpus, table, "run-1").all()
    row = ledger(table)["link.wav"]
    assert (row["status"], row["error"]) == ("vanished", "named by the input, and not there")
    run = PlainRun(corpus, table, "run-2").make_plan()
    assert run.plan.empty
    write_audio(corpus / "nowhere.wav")
    assert PlainRun(corpus, table, "run-3").make_plan().plan.counts["changed"] == 1


def test_a_list_names_what_it_names(tmp_path, corpus):
    names = tmp_path / "list.txt"
    names.write_text(f"{corpus}/001.wav\n{corpus}/gone.wav\n")
    found = parse_input(f"@{names}")
    assert [(each.uri, each.absent) for each in list_inputs([found])] == [
        (f"{corpus}/001.wav", False),
        (f"{corpus}/gone.wav", True),
    ]
    assert found.names(f"{corpus}/gone.wav")
    assert not found.names(f"{corpus}/002.wav")


@pytest.mark.parametrize(
    ("pattern", "named", "others"),
    [
        ("", ["a.wav", "b/c.flac"], ["a.txt", ".hidden.wav", "b/.x/c.wav"]),
        ("*.wav", ["a.wav"], ["b/c.wav", ".a.wav", "a.flac"]),
        ("**/*.wav", ["a.wav", "b/c.wav"], ["b/c.flac", ".b/c.wav"]),
        ("b/*", ["b/c.txt", "b/d"], ["a.wav", "b/c/d.wav", "bb/c.wav"]),
        (".*", [".a.wav"], ["a.wav"]),
        ("a.wav", ["a.wav"], ["aa.wav", "b/a.wav"]),
    ],
)
def test_a_pattern_names_what_is_no_longer_there(tmp_path, pattern, named, others):
    found = parse_input(f"{tmp_path}/{pattern}".rstrip("/"))
    assert [name for name in (*named, *others) if found.names(f"{tmp_path}/{name}")] == named
    assert not found.names(f"{tmp_path}x/a.wav")


def test_names_that_are_no_utf8(tmp_path, table):
    corpus = tmp_path / "corpus"
    write_audio(corpus / "a.wav")
    os.rename(corpus / "a.wav", os.fsencode(corpus) + b"/\xe4.wav")
    write_audio(corpus / "b.wav")
    run = PlainRun(corpus, table, "run-1").all()
    (odd,) = [clip_id for clip_id in ledger(table) if clip_id != "b.wav"]
    assert PlainRun(corpus, table, "run-2").make_plan().plan.empty
    os.unlink(os.fsencode(corpus) + b"/\xe4.wav")
    assert PlainRun(corpus, table, "run-3").make_plan().plan.gone == 1
    assert run.patterns[0].names(storage.as_text(f"{corpus}/") + odd)


def test_an_empty_run_leaves_nothing_that_can_be_seen(corpus, table):
    PlainRun(corpus, table, "run-1").all()
    before = snapshot(table)
    run = PlainRun(corpus, table, "run-2").make_plan()
    assert run.plan.empty
    assert snapshot(table) == before
    assert not (table / "_l3flow/staging/run-2").exists()
