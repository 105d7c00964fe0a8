"""A whole table has no findings; each damage is found, and as what it is."""

import dataclasses
import hashlib
import json
import os
import random
import shutil
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from l3core import storage
from l3core.errors import TableError
from l3core.table import verify_files
from l3core.table.finding import KINDS, Tally
from l3core.table.journal import fence
from l3core.table.layout import LEDGER_SCHEMA, TablePaths, windows_schema
from l3core.table.spool import Stream
from l3core.table.state import load_state
from l3core.table.verify import verify_table
from l3core.table.verify_rows import LedgerScan
from l3core.weights import to_h5
from tests.corpus import SPEC, PlainRun, replace_file, write_audio, write_mixed

PAPER = dataclasses.replace(SPEC, grid="paper", hop_s=0.1)


def run(corpus, table, run_id, spec=SPEC):
    """A run that leaves the table's copy of the weights, as the command does."""
    made = PlainRun(corpus, table, run_id, spec=spec).all()
    weights = made.embedder.weights
    content = to_h5(weights, spec.network.layer_shapes(spec))
    storage.write_bytes(made.paths.weights(weights.digest), content)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Four runs, two specs, bad files, a recording whose windows lie in several files."""
    folder = tmp_path_factory.mktemp("verify")
    corpus, table = write_mixed(folder / "corpus"), folder / "table"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("l3core.table.plan.SHARDS_WANTED", 2)  # so that recordings share files
        patch.setattr("l3core.table.state.COMMITS_AN_INDEX", 2)
        run(corpus, table, "run-1")
        replace_file(corpus / "a.wav", 1.5, seed=50)
        (corpus / "a-b.wav").write_text("no audio any more")
        run(corpus, table, "run-2")
        run(corpus, table, "run-3", PAPER)
        patch.setattr("l3core.table.pieces.PROBE_BYTES", 0)
        patch.setattr("l3core.table.pieces.shard_windows", lambda spec: 8)
        patch.setattr("l3core.table.plan.shard_windows", lambda spec: 8)
        write_audio(corpus / "long.wav", 6.0, seed=51)
        run(corpus, table, "run-4")
    return corpus, table


class Table:
    """A copy of the table, with ways to damage it."""

    def __init__(self, folder):
        self.folder = folder
        self.paths = TablePaths(str(folder))
        self.state = load_state(self.paths)
        self.specs = {read["spec"]["grid"]: read["fingerprint"] for read in self._specs()}
        self.fingerprint = self.specs["center"]
        self.windows = self.file_of("a/b.flac", "center")
        self.ledger = self.folder / self.state.ledger(self.fingerprint)[0]

    def _specs(self):
        return [json.loads(path.read_bytes()) for path in (self.folder / "specs").iterdir()]

    def file_of(self, clip_id, grid):
        """The file that holds a clip and others."""
        for path in self.state.windows(self.specs[grid]):
            found = set(pq.read_table(self.folder / path)["clip_id"].to_pylist())
            if clip_id in found and len(found) > 1:
                return self.folder / path
        raise AssertionError

    def relative(self, path):
        return path.relative_to(self.folder).as_posix()

    def edit(self, relative, change):
        """Change the JSON of a file in place."""
        path = self.folder / relative
        value = json.loads(path.read_bytes())
        change(value)
        path.write_text(json.dumps(value))

    def edit_commits(self, change):
        """Change all records, in the journal and in runs/ alike; what was kept of them goes."""
        shutil.rmtree(self.folder / "_l3flow/index", ignore_errors=True)
        for path in (self.folder / "_l3flow/journal").iterdir():
            self.edit(path, lambda entry: change(entry["record"]))
        for path in (self.folder / "runs").iterdir():
            self.edit(path, change)

    def record_again(self, path, **facts):
        """Let the commits say of a file what it is now, so that only its content can tell."""
        content = path.read_bytes()
        found = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), **facts}

        def change(record):
            for file in record["files_added"]:
                if file["path"] == self.relative(path):
                    file.update(found)

        self.edit_commits(change)

    def rewrite(self, path, change):
        """Change the rows of a file, and what the commits say of it."""
        parquet = pq.read_table(path)
        rows = change(parquet.to_pylist())
        table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows, parquet.schema)
        pq.write_table(table, path)
        self.record_again(path, rows=len(table))

    def cast(self, path, schema):
        self.rewrite(path, lambda _: pq.read_table(path).cast(schema))

    def findings(self, spec=None, **kwargs):
        found = list(verify_table(self.paths, spec, **kwargs))
        for finding in found:
            assert finding.kind in KINDS
            assert finding.problem
            assert "\n" not in finding.problem
            assert not finding.path.startswith("/")
        return found

    def kinds(self, spec=None):
        return {finding.kind for finding in self.findings(spec)}


@pytest.fixture
def table(made, tmp_path):
    return Table(Path(shutil.copytree(made[1], tmp_path / "table")))


DAMAGES = {}


def damage(*kinds):
    """Register a way to damage a table, and exactly what has to be found then."""

    def register(function):
        DAMAGES[function.__name__] = (function, set(kinds))
        return function

    return register


def row_of(rows, clip_id, window=None):
    """Index of a row."""
    for index, row in enumerate(rows):
        if row["clip_id"] == clip_id and row.get("window") == window:
            return index
    raise AssertionError


def changed(clip_id, number=None, /, **fields):
    """The rows with other values in one of them."""

    def change(rows):
        rows[row_of(rows, clip_id, number)].update(fields)
        return rows

    return change


# --- files


@damage("checksum")
def one_byte_of_the_footer(table):
    content = table.windows.read_bytes()
    assert b"parquet-cpp" in content
    table.windows.write_bytes(content.replace(b"parquet-cpp", b"parquet-cqp"))


@damage("size", "unreadable-file")
def truncated_file(table):
    table.windows.write_bytes(table.windows.read_bytes()[:-100])


@damage("size", "unreadable-file")
def emptied_ledger(table):
    table.ledger.write_bytes(b"")


@damage("unreadable-file")
def text_in_place_of_parquet(table):
    table.windows.write_text("no parquet")
    table.record_again(table.windows)


@damage("size", "unreadable-file")
def folder_in_place_of_a_file(table):
    table.windows.unlink()
    table.windows.mkdir()


@damage("unreadable-file")
def file_in_place_of_the_windows(table):
    shutil.rmtree(table.folder / "windows")
    (table.folder / "windows").write_text("a file")


@damage("missing-file")
def deleted_windows(table):
    table.windows.unlink()


@damage("missing-file")
def deleted_ledger(table):
    table.ledger.unlink()


@damage("missing-file")
def deleted_ledger_and_windows(table):
    table.ledger.unlink()
    table.windows.unlink()


@damage("orphan-file")
def file_under_another_name(table):
    shutil.copy(table.windows, table.windows.with_name("copy.parquet"))


@damage("orphan-file")
def foreign_file_in_a_partition_of_its_own(table):
    path = table.folder / "clips/spec=s0/x.parquet"
    path.parent.mkdir()
    path.write_bytes(b"whatever")


@damage("size")
def written_again_by_another_program(table):
    pq.write_table(pq.read_table(table.windows), table.windows, compression="none")


@damage("row-count")
def another_number_of_rows_in_the_commit(table):
    table.record_again(table.windows, rows=1)


# --- columns


@damage("schema")
def doubles_for_floats(table):
    field = pa.field("embedding", pa.list_(pa.float64(), 8), nullable=False)
    table.cast(table.windows, windows_schema(8).set(4, field))


@damage("schema")
def clips_that_may_be_null(table):
    table.cast(table.windows, windows_schema(8).set(0, pa.field("clip_id", pa.string())))


@damage("schema")
def column_left_out(table):
    table.rewrite(table.windows, lambda _: pq.read_table(table.windows).drop_columns(["silent"]))


@damage("schema")
def vectors_of_another_length(table):
    def change(rows):
        shorter = [row | {"embedding": row["embedding"][:4]} for row in rows]
        return pa.Table.from_pylist(shorter, windows_schema(4))

    table.rewrite(table.windows, change)


@damage("schema")
def ledger_with_another_column(table):
    def change(rows):
        return pa.Table.from_pylist(rows, LEDGER_SCHEMA.append(pa.field("more", pa.string())))

    table.rewrite(table.ledger, change)


# --- windows


@damage("unsorted")
def windows_swapped(table):
    def change(rows):
        first = row_of(rows, "a/b.flac", 1)
        rows[first], rows[first + 1] = rows[first + 1], rows[first]
        return rows

    table.rewrite(table.windows, change)


@damage("unsorted")
def clips_swapped(table):
    def change(rows):
        return sorted(rows, key=lambda row: row["clip_id"], reverse=True)

    table.rewrite(table.windows, change)


@damage("missing-windows", "windows-written")
def window_dropped(table):
    def change(rows):
        del rows[row_of(rows, "a/b.flac", 2)]
        return rows

    table.rewrite(table.windows, change)


@damage("windows-written")
def last_window_dropped(table):
    def change(rows):
        del rows[row_of(rows, "a/b.flac", 5)]
        return rows

    table.rewrite(table.windows, change)


@damage("duplicate-windows", "windows-written")
def window_doubled(table):
    def change(rows):
        index = row_of(rows, "a/b.flac", 2)
        return [*rows[: index + 1], *rows[index:]]

    table.rewrite(table.windows, change)


@damage("duplicate-windows", "windows-written", "clip-files")
def file_committed_twice(table):
    shutil.copy(table.windows, table.windows.with_name("twice.parquet"))

    def change(record):
        for file in list(record["files_added"]):
            if file["path"] == table.relative(table.windows):
                twice = table.relative(table.windows.with_name("twice.parquet"))
                record["files_added"].append(file | {"path": twice})

    table.edit_commits(change)


@damage("duplicate-windows", "windows-written", "clip-files")
def one_window_committed_again_in_a_file_of_its_own(table):
    """Of a recording whose other windows follow in further files: they are not missing for that."""
    again = table.windows.with_name("again.parquet")
    for path in table.state.windows(table.fingerprint):
        rows = pq.read_table(table.folder / path)
        found = rows.filter((pc.field("clip_id") == "long.wav") & (pc.field("window") == 1))
        if len(found):
            pq.write_table(found, again)
    facts = {"path": table.relative(again), "sha256": "", "bytes": 0, "rows": 1}
    table.edit_commits(lambda record: record["files_added"].append(dict(facts)))
    table.record_again(again)


@damage("missing-file", "windows-written")
def file_deleted_and_a_window_dropped_from_another(table):
    table.windows.unlink()
    path = table.file_of("short.wav", "center")
    table.rewrite(path, lambda rows: rows[:-1])


@damage("missing-file", "not-in-ledger")
def ledger_row_removed_and_a_file_of_the_clip_deleted(table):
    rows = pq.read_table(table.ledger).to_pylist()
    files = rows[row_of(rows, "long.wav")]["files"]
    table.rewrite(table.ledger, lambda rows: [row for row in rows if row["clip_id"] != "long.wav"])
    (table.folder / files[1]).unlink()


@damage("start-times", "duplicate-windows", "missing-windows")
def window_below_zero(table):
    table.rewrite(table.windows, changed("a/b.flac", 0, window=-1))


@damage("not-finite")
def nan(table):
    table.rewrite(table.windows, changed("a/b.flac", 3, embedding=[1.0] * 7 + [float("nan")]))


@damage("not-finite")
def infinity(table):
    table.rewrite(table.windows, changed("a/b.flac", 3, embedding=[float("-inf")] + [1.0] * 7))


@damage("not-finite")
def null_in_a_vector(table):
    table.rewrite(table.windows, changed("a/b.flac", 3, embedding=[None] + [1.0] * 7))


@damage("not-finite")
def start_time_that_is_nan(table):
    table.rewrite(table.windows, changed("a/b.flac", 3, start_s=float("nan")))


@damage("start-times")
def only_window_of_the_paper_grid_before_its_middle(table):
    # a window of 0.25 s in the middle of which the signal stands: -0.125 or later
    table.rewrite(table.file_of("short.wav", "paper"), changed("short.wav", 0, start_s=-0.126))


@damage("start-times")
def only_window_of_the_paper_grid_within_the_signal(table):
    table.rewrite(table.file_of("short.wav", "paper"), changed("short.wav", 0, start_s=0.001))


@damage("missing-windows", "windows-written")
def first_window_dropped_behind_a_clip_of_one_window(table):
    def change(rows):
        index = row_of(rows, "silent.wav", 0)
        assert (rows[index - 1]["clip_id"], rows[index - 1]["window"]) == ("short.wav", 0)
        del rows[index]
        return rows

    table.rewrite(table.file_of("short.wav", "center"), change)


@damage("start-times")
def window_that_starts_late(table):
    # the fourth window of a centred grid: -0.125 + 3 * 0.25
    table.rewrite(table.windows, changed("a/b.flac", 3, start_s=0.625 + 1e-5))


@damage("start-times")
def clip_that_starts_late(table):
    def change(rows):
        return [row | {"start_s": row["start_s"] + (row["clip_id"] == "a/b.flac")} for row in rows]

    table.rewrite(table.windows, change)


@damage("not-in-ledger", "windows-written", "clip-files")
def clip_renamed(table):
    def change(rows):
        named = [row | {"clip_id": row["clip_id"].replace("a/b.flac", "a/b.flac2")} for row in rows]
        return sorted(named, key=lambda row: (row["clip_id"], row["window"]))

    table.rewrite(table.windows, change)


# --- the ledger


@damage("not-in-ledger")
def ledger_row_removed(table):
    table.rewrite(table.ledger, lambda rows: [row for row in rows if row["clip_id"] != "a/b.flac"])


@damage("ledger-duplicate")
def ledger_row_doubled(table):
    def change(rows):
        index = row_of(rows, "bad/text.wav")
        return [*rows[: index + 1], *rows[index:]]

    table.rewrite(table.ledger, change)


@damage("unsorted")
def ledger_reversed(table):
    table.rewrite(table.ledger, lambda rows: rows[::-1])


@damage("status")
def unknown_status(table):
    table.rewrite(table.ledger, changed("a/b.flac", status="fine"))


@damage("failed-with-windows")
def failed_clip_with_windows(table):
    table.rewrite(table.ledger, changed("a/b.flac", status="unreadable"))


@damage("failed-with-windows", "clip-files")
def failed_clip_with_a_file(table):
    table.rewrite(table.ledger, changed("bad/text.wav", files=[table.relative(table.windows)]))


@damage("failed-with-windows", "windows-written")
def failed_clip_with_a_number_written(table):
    table.rewrite(table.ledger, changed("bad/text.wav", windows_written=2))


@damage("ledger-counts", "windows-written")
def truncated_with_less_than_none_written(table):
    table.rewrite(table.ledger, changed("cut.flac", windows_written=-1))


@damage("ledger-counts")
def ok_with_more_expected(table):
    table.rewrite(table.ledger, changed("a/b.flac", windows_expected=7))


@damage("ledger-counts")
def truncated_with_fewer_expected(table):
    table.rewrite(table.ledger, changed("cut.flac", windows_expected=3))


@damage("ledger-counts", "windows-written")
def another_number_written(table):
    table.rewrite(table.ledger, changed("a/b.flac", windows_written=5))


@damage("windows-written")
def another_number_written_and_expected(table):
    table.rewrite(table.ledger, changed("a/b.flac", windows_written=9, windows_expected=9))


@damage("clip-files")
def other_files(table):
    table.rewrite(table.ledger, changed("a/b.flac", files=["windows/spec=s1/other.parquet"]))


@damage("clip-files")
def one_of_the_files_left_out(table):
    def change(rows):
        files = rows[row_of(rows, "long.wav")]["files"]
        assert len(files) > 2
        return changed("long.wav", files=files[1:])(rows)

    table.rewrite(table.ledger, change)


@damage("uri")
def another_uri(table):
    table.rewrite(table.ledger, changed("bad/text.wav", uri="/elsewhere/bad/text.wav"))


# --- the history


@damage("run-record")
def run_record_edited(table):
    table.edit("runs/run-2.json", lambda record: record.update(windows=777))


@damage("run-record")
def run_record_deleted(table):
    (table.folder / "runs/run-1.json").unlink()


@damage("run-record")
def run_record_emptied(table):
    (table.folder / "runs/run-2.json").write_bytes(b"")


@damage("journal", "orphan-file")
def entry_and_its_record_deleted(table):
    (table.folder / "_l3flow/journal/00000003.json").unlink()
    (table.folder / "runs/run-3.json").unlink()


@damage("run-record")
def folder_in_place_of_a_run_record(table):
    (table.folder / "runs/run-2.json").unlink()
    (table.folder / "runs/run-2.json").mkdir()


@damage("run-record")
def run_record_of_nobody(table):
    shutil.copy(table.folder / "runs/run-2.json", table.folder / "runs/run-9.json")


@damage("pending")
def last_run_record_deleted(table):
    (table.folder / "runs/run-4.json").unlink()


@damage("journal")
def first_entry_deleted(table):
    (table.folder / "_l3flow/journal/00000001.json").unlink()


@damage("journal")
def last_entry_deleted(table):
    (table.folder / "_l3flow/journal/00000004.json").unlink()


@damage("journal")
def all_entries_deleted(table):
    shutil.rmtree(table.folder / "_l3flow/journal")


@damage("journal", "orphan-file")
def only_files_left(table):
    shutil.rmtree(table.folder / "_l3flow/journal")
    shutil.rmtree(table.folder / "runs")


@damage("journal")
def garbage_in_the_journal(table):
    (table.folder / "_l3flow/journal/00000002.json").write_bytes(b"\xff\x00 garbage")


@damage("journal")
def list_in_the_journal(table):
    (table.folder / "_l3flow/journal/00000002.json").write_text("[1, 2]")


@damage("journal")
def nested_without_end(table):
    (table.folder / "_l3flow/journal/00000002.json").write_text("[" * 100_000)


@damage("journal")
def entry_without_files(table):
    table.edit("_l3flow/journal/00000002.json", lambda entry: entry["record"].pop("files_added"))


@damage("journal")
def entry_with_a_file_elsewhere(table):
    def change(entry):
        entry["record"]["files_added"][0]["path"] = "../../etc/passwd"

    table.edit("_l3flow/journal/00000002.json", change)


@damage("journal", "run-record")
def entry_of_another_number(table):
    table.edit("_l3flow/journal/00000002.json", lambda entry: entry["record"].update(commit=3))


@damage("journal")
def foreign_name_in_the_journal(table):
    (table.folder / "_l3flow/journal/notes.json").write_text("{}")


@damage("journal")
def entry_far_behind_the_others(table):
    journal = table.folder / "_l3flow/journal"
    (journal / "00000004.json").rename(journal / "99999999.json")
    table.edit(journal / "99999999.json", lambda entry: entry["record"].update(commit=99999999))
    table.edit("runs/run-4.json", lambda record: record.update(commit=99999999))


@damage("index")
def index_edited(table):
    table.edit("_l3flow/index/00000002.json", lambda value: value["files"].popitem())


@damage("index")
def index_garbage(table):
    (table.folder / "_l3flow/index/00000002.json").write_text("garbage")


# --- table.json, specs, weights


@damage("table-json")
def another_root(table):
    table.edit("table.json", lambda value: value.update(root="/elsewhere"))


@damage("table-json")
def another_layout(table):
    table.edit("table.json", lambda value: value.update(layout="1"))


@damage("table-json")
def table_json_deleted(table):
    (table.folder / "table.json").unlink()


@damage("table-json")
def table_json_garbage(table):
    (table.folder / "table.json").write_text("{half")


@damage("spec")
def spec_edited(table):
    table.edit(f"specs/{table.fingerprint}.json", lambda value: value["spec"].update(hop_s=0.5))


@damage("spec")
def spec_deleted(table):
    (table.folder / f"specs/{table.fingerprint}.json").unlink()


@damage("spec")
def spec_garbage(table):
    (table.folder / f"specs/{table.fingerprint}.json").write_text("null")


def edit_spec_everywhere(table, **fields):
    """In specs/ and in the journal: then only the fingerprint can tell."""
    table.edit(f"specs/{table.fingerprint}.json", lambda value: value["spec"].update(fields))
    for path in (table.folder / "_l3flow/journal").iterdir():
        if json.loads(path.read_bytes())["record"]["fingerprint"] == table.fingerprint:
            table.edit(path, lambda entry: entry["spec"]["spec"].update(fields))


@damage("spec")
def spec_of_another_fingerprint(table):
    edit_spec_everywhere(table, resampler="resampy")


@damage("spec")
def spec_with_a_field_of_the_future(table):
    edit_spec_everywhere(table, augmentation="none")


@damage("unknown-model")
def model_that_is_not_known(table):
    edit_spec_everywhere(table, model="of-a-later-version")


@damage("weights")
def weights_deleted(table):
    shutil.rmtree(table.folder / "_l3flow/weights")


@damage("weights")
def weights_garbage(table):
    (path,) = (table.folder / "_l3flow/weights").iterdir()
    path.write_bytes(path.read_bytes()[:1000])


@damage("weights")
def other_weights(table):
    (path,) = (table.folder / "_l3flow/weights").iterdir()
    other = PlainRun("/", "/", "x", spec=dataclasses.replace(SPEC, weights="random:1")).embedder.weights
    path.write_bytes(to_h5(other, SPEC.network.layer_shapes(SPEC)))


def test_a_whole_table_has_no_findings(table):
    tally = Tally()
    assert table.findings(tally=tally) == []
    windows = sum(pq.read_metadata(p).num_rows for p in table.folder.glob("windows/*/*.parquet"))
    rows = sum(pq.read_metadata(p).num_rows for p in table.folder.glob("clips/*/*.parquet"))
    files = list(table.folder.glob("*/spec=*/*.parquet"))
    size = sum(path.stat().st_size for path in files)
    assert tally == Tally(2, len(files), len(files), size, size, windows, rows)
    assert tally.share == 1.0
    assert tally.begun


@pytest.mark.parametrize("name", DAMAGES)
def test_each_damage_is_found_as_what_it_is(table, name):
    function, kinds = DAMAGES[name]
    function(table)
    assert table.kinds() == kinds


def test_every_kind_has_a_damage():
    found = set().union(*(kinds for _, kinds in DAMAGES.values()))
    assert found == set(KINDS) - {"changed"}  # which has a test of its own


@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize(
    "name", ["windows_swapped", "clips_swapped", "window_dropped", "window_doubled", "nan"]
)
def test_where_batches_end_changes_nothing(table, monkeypatch, rows, name):
    monkeypatch.setattr(verify_files, "ROW_GROUP_BYTES", rows * 4 * 8)
    monkeypatch.setattr(verify_files, "BATCH_ROWS", rows)
    assert table.findings() == []
    function, kinds = DAMAGES[name]
    function(table)
    assert table.kinds() == kinds


def test_a_damage_is_told_with_its_place_and_what_was_expected(table):
    nan(table)
    uri = DAMAGES["another_uri"][0]
    uri(table)
    root = table.state.root
    found = {finding.kind: finding for finding in table.findings()}
    assert found["not-finite"].path == table.relative(table.windows)
    assert found["not-finite"].problem == (
        "should have finite numbers only, has NaN or infinity in 1 row: "
        "first window 3 of a/b.flac, start_s 0.625"
    )
    assert found["uri"].path == table.relative(table.ledger)
    assert found["uri"].problem == (
        f"bad/text.wav: uri should be {root}/bad/text.wav, is /elsewhere/bad/text.wav"
    )


@pytest.mark.parametrize("which", ["windows", "ledger"])
def test_flipped_bytes_never_end_the_check(table, which):
    path = getattr(table, which)
    whole = path.read_bytes()
    place = random.Random(7)
    for _ in range(150):
        content = bytearray(whole)
        content[place.randrange(len(whole))] ^= 1 << place.randrange(8)
        path.write_bytes(content)
        found = table.findings()
        assert ("checksum", table.relative(path)) in {finding[:2] for finding in found}


def test_cut_files_never_end_the_check(table):
    whole = table.windows.read_bytes()
    for length in range(0, len(whole), 50):
        table.windows.write_bytes(whole[:length])
        assert table.kinds() == {"size", "unreadable-file"}, length


WRONG = [None, True, -1, 1e400, "", "x/../y", [], [None], [[]], {}, {"path": 3}, "s" * 5000]


@pytest.mark.parametrize("relative", ["_l3flow/journal/00000002.json", "runs/run-2.json", "table.json"])
def test_any_json_never_ends_the_check(table, relative):
    value = json.loads((table.folder / relative).read_bytes())
    record = value.get("record", value)
    owners = [value, record, *record.get("files_added", [])[:1]]
    keys = (
        "record",
        "commit",
        "run_id",
        "root",
        "files_added",
        "files_removed",
        "path",
        "sha256",
        "rows",
    )
    for owner, key in [(owner, key) for owner in owners for key in keys if key in owner]:
        kept = owner[key]
        for other in WRONG:
            owner[key] = other
            (table.folder / relative).write_text(json.dumps(value))
            assert table.findings() or other == kept, (key, other)
        owner[key] = kept
    (table.folder / relative).write_text(json.dumps(value))
    assert table.findings() == []


@pytest.mark.parametrize("other", WRONG)
def test_any_spec_and_staging_of_a_commit_never_ends_the_check(table, other):
    (table.folder / "runs/run-4.json").unlink()
    for change in ({"spec": other}, {"staged": other}):
        table.edit("_l3flow/journal/00000004.json", lambda entry, change=change: entry.update(change))
        assert table.findings()
    table.edit(f"specs/{table.fingerprint}.json", lambda value: value.update(spec=other))
    assert table.findings()
    table.edit(f"specs/{table.fingerprint}.json", lambda value: value.update(spec={"model": other}))
    assert table.findings()


def test_a_run_record_stands_in_for_no_other_commit(table):
    """Neither for one that is lost, nor for one that never was."""
    for lost in ("_l3flow/journal/00000003.json", "runs/run-3.json"):
        (table.folder / lost).unlink()
    table.edit("runs/run-2.json", lambda record: record.update(commit=3))
    kinds = [finding.kind for finding in table.findings() if finding.kind != "orphan-file"]
    assert kinds == ["run-record", "journal"]
    table.edit("runs/run-2.json", lambda record: record.update(commit=9))
    run_record_of_nobody(table)
    table.edit("runs/run-9.json", lambda record: record.update(commit=2))
    kinds = [finding.kind for finding in table.findings() if finding.kind != "orphan-file"]
    assert kinds == ["run-record", "journal", "run-record"]


@pytest.mark.parametrize(
    ("root", "uri"),
    [("/", "/a"), ("/x", "/x/a"), ("memory:///x", "memory:///x/a"), ("/\udce9", "/\ue0e9/a")],
)
def test_uris_below_any_root(tmp_path, root, uri):
    """Names that are no UTF-8 are in the ledger as every format can hold them."""
    row = {"clip_id": "a", "uri": uri, "status": "empty", "files": []}
    row |= {"windows_expected": 0, "windows_written": 0}
    with (tmp_path / "spool").open("w+b") as file:
        assert list(LedgerScan("x", root, Stream(file)).take(row)) == []
        assert len(list(LedgerScan("x", root + "y", Stream(file)).take(row))) == 1


def test_windows_in_excess_and_missing_are_counted(table):
    file_committed_twice(table)
    problems = [finding.problem for finding in table.findings() if finding.kind == "duplicate-windows"]
    assert (
        "a/b.flac: each window should be there once, rows in excess: 6, the first is of window 0"
    ) in problems


def test_missing_windows_are_counted(table):
    table.rewrite(table.windows, lambda rows: [row for row in rows if row["window"] not in (1, 2)])
    problems = [finding.problem for finding in table.findings() if finding.kind == "missing-windows"]
    assert ("a/b.flac: should have windows 0 to 5, missing: 2, the first before window 3") in problems


def test_what_is_missing_is_not_told_again_by_the_clips_of_it(table):
    deleted_windows(table)
    assert [finding[:2] for finding in table.findings()] == [
        ("missing-file", table.relative(table.windows))
    ]


@pytest.mark.parametrize("spec", ["center", "paper"])
def test_one_spec_only(table, spec):
    deleted_windows(table)  # of the centred one
    file_under_another_name_of = table.folder / f"windows/spec={table.specs['paper']}/copy.parquet"
    file_under_another_name_of.write_bytes(b"")
    expected = {"center": {"missing-file"}, "paper": {"orphan-file"}}[spec]
    assert table.kinds(table.specs[spec][:8]) == expected


def test_wrong_use(table, tmp_path):
    with pytest.raises(TableError, match=r"--spec s0 is none of the specs"):
        table.findings("s0")
    with pytest.raises(TableError, match="no table at"):
        list(verify_table(TablePaths(str(tmp_path / "nothing"))))
    assert not (tmp_path / "nothing").exists()
    table.edit_commits(lambda record: record.update(layout=2))
    with pytest.raises(TableError, match="has table layout 2, this l3flow knows 1"):
        table.findings()


class Killed(BaseException):
    """The process is gone."""


@contextmanager
def killed_before_change(number, monkeypatch):
    """Die before the `number`-th change of a publication."""
    left = number

    def dying(function):
        def step(*args, **kwargs):
            nonlocal left
            if left <= 0:  # several may come at once
                raise Killed
            left -= 1
            return function(*args, **kwargs)

        return step

    with monkeypatch.context() as patch:
        for name in ("write_bytes", "move", "remove"):
            patch.setattr(storage, name, dying(getattr(storage, name)))
        yield


@pytest.mark.parametrize("full", [False, True])
def test_a_commit_that_was_not_published_is_told_once(made, tmp_path, monkeypatch, full):
    corpus, ready = made[0], tmp_path / "ready"
    shutil.copytree(made[1], ready)
    run_5 = PlainRun(corpus, ready, "run-5", full=full)
    before = (corpus / "short.wav").stat().st_mtime_ns
    (corpus / "short.wav").touch()  # a new version: its file is replaced
    run_5.make_plan().embed()
    os.utime(corpus / "short.wav", ns=(before, before))
    pending = 0
    for kills in range(100):
        table = shutil.copytree(ready, tmp_path / f"killed-{kills}")
        run_5.paths = TablePaths(str(table))
        try:
            with killed_before_change(kills, monkeypatch):
                run_5.commit()
        except Killed:
            pass
        journalled = (table / "_l3flow/journal/00000005.json").exists()
        published = (table / "runs/run-5.json").exists()
        found = [finding.kind for finding in verify_table(run_5.paths)]
        assert found == (["pending"] if journalled and not published else []), kills
        pending += len(found)
        if published:
            break
    assert pending >= 7  # table.json, spec, windows and ledger moved, two removed, the record


def test_a_first_commit_that_was_not_published_is_told_once(tmp_path, monkeypatch):
    corpus = tmp_path / "corpus"
    write_audio(corpus / "a.wav")
    for kills in range(100):
        table = tmp_path / f"table-{kills}"
        first = PlainRun(corpus, table, "run-1").make_plan().embed()
        weights = first.embedder.weights
        content = to_h5(weights, SPEC.network.layer_shapes(SPEC))
        storage.write_bytes(first.paths.weights(weights.digest), content)
        try:
            with killed_before_change(kills, monkeypatch):
                first.commit()
        except Killed:
            pass
        if (table / "runs/run-1.json").exists():
            break
        if (table / "_l3flow/journal/00000001.json").exists():
            assert [finding.kind for finding in verify_table(first.paths)] == ["pending"], kills
    assert list(verify_table(first.paths)) == []
    assert kills > 4  # table.json, spec, windows, ledger, record


def test_a_pending_commit_may_name_other_weights_of_the_same_digest(table):
    (table.folder / "runs/run-4.json").unlink()

    def change(spec):
        spec["spec"]["weights"] = "the/same/weights.h5"

    table.edit("_l3flow/journal/00000004.json", lambda entry: change(entry["spec"]))
    assert table.kinds() == {"pending"}
    table.edit(f"specs/{table.fingerprint}.json", change)
    assert table.kinds() == {"pending"}


def test_a_staged_file_of_a_pending_commit_is_checked_where_it_lies(table):
    (table.folder / "runs/run-4.json").unlink()
    place = "_l3flow/staging/run-4/x.parquet"
    name = f"windows/spec={table.fingerprint}/run-4-000000.parquet"
    (table.folder / place).parent.mkdir(parents=True)
    (table.folder / name).rename(table.folder / place)
    table.edit("_l3flow/journal/00000004.json", lambda entry: entry["staged"].update({name: place}))
    assert table.kinds() == {"pending"}
    (table.folder / place).unlink()
    assert table.kinds() == {"pending", "missing-file"}


def test_a_fence_is_a_commit_without_record_and_files(table):
    fence(table.paths, table.state, table.fingerprint, "run-5", table.state.root)
    assert (table.folder / "_l3flow/journal/00000005.json").exists()
    assert table.findings() == []


def idle_run(table, commit):
    """The record of a run that had nothing to do: it names the commit that it stood on."""
    record = json.loads((table.folder / "runs/run-4.json").read_bytes())
    record |= {"run_id": "run-5", "commit": commit, "files_added": [], "files_removed": []}
    (table.folder / "runs/run-5.json").write_text(json.dumps(record))


def test_a_run_that_had_nothing_to_do_has_a_record_and_no_commit(table):
    idle_run(table, 4)
    assert table.findings() == []
    last_entry_deleted(table)  # the commit is known from its own record
    assert table.kinds() == {"journal"}


def test_a_run_that_had_nothing_to_do_stands_on_a_commit_that_there_is(table):
    idle_run(table, 5)
    assert [finding[:2] for finding in table.findings()] == [("run-record", "runs/run-5.json")]


def test_only_a_run_that_had_nothing_to_do_is_no_table(table):
    for path in ("_l3flow", "windows", "clips", "specs"):
        shutil.rmtree(table.folder / path)
    idle_run(table, 0)
    for path in (
        "runs/run-1.json",
        "runs/run-2.json",
        "runs/run-3.json",
        "runs/run-4.json",
        "table.json",
    ):
        (table.folder / path).unlink()
    with pytest.raises(TableError, match="no table at"):
        table.findings()


def test_only_fences_are_no_table(tmp_path):
    paths = TablePaths(str(tmp_path / "table"))
    fence(paths, load_state(paths), "s1", "run-1", "/corpus")
    with pytest.raises(TableError, match="no table at"):
        list(verify_table(paths))


def test_a_partition_that_was_dropped_needs_nothing(table):
    paper = table.specs["paper"]
    gone = [path for path in table.state.files if f"spec={paper}" in path]
    record = {"layout": 1, "commit": 5, "run_id": "drop", "root": table.state.root}
    record |= {"fingerprints": [paper], "files_added": [], "files_removed": gone}
    entry = {"writer": "w", "record": record, "staged": {}}
    (table.folder / "_l3flow/journal/00000005.json").write_text(json.dumps(entry))
    (table.folder / "runs/drop.json").write_text(json.dumps(record))
    assert table.kinds() == {"orphan-file"}
    shutil.rmtree(table.folder / f"windows/spec={paper}")
    shutil.rmtree(table.folder / f"clips/spec={paper}")
    (table.folder / f"specs/{paper}.json").unlink()
    assert table.findings() == []


@pytest.mark.parametrize("pruned", [False, True])
def test_a_file_that_is_gone_may_keep_its_windows(table, pruned):
    fields = {"status": "gone", "error": "not there any more"}
    if pruned:
        fields |= {"windows_written": 0, "files": []}
        table.rewrite(table.windows, lambda rows: [r for r in rows if r["clip_id"] != "a/b.flac"])
    table.rewrite(table.ledger, changed("a/b.flac", **fields))
    assert table.findings() == []


def test_weights_are_not_needed_where_there_are_no_windows(tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "text.wav").write_text("no audio")
    PlainRun(corpus, tmp_path / "table", "run-1").all()
    assert list(verify_table(TablePaths(str(tmp_path / "table")))) == []


def test_a_run_that_commits_meanwhile_is_told_with_what_was_found(made, table):
    file_under_another_name(table)
    found = verify_table(table.paths)
    first = next(found)
    PlainRun(made[0], table.folder, "run-5").all()
    assert [first.kind, *(finding.kind for finding in found)] == ["orphan-file", "changed"]


def test_a_run_that_commits_meanwhile_is_no_damage(made, table, monkeypatch):
    monkeypatch.setattr(
        "l3core.table.verify._check_table_json",
        lambda *_: [PlainRun(made[0], table.folder, "run-5").all()][:0],
    )
    assert table.findings() == []


def test_on_a_store(made):
    memory = fsspec.filesystem("memory")
    memory.put(str(made[1]), "/verify/table", recursive=True)
    paths = TablePaths(storage.absolute("memory://verify/table"))
    try:
        assert list(verify_table(paths)) == []
        path = sorted(load_state(paths).files)[0]
        memory.rm(f"/verify/table/{path}")
        memory.pipe("/verify/table/windows/spec=s0/x.parquet", b"")
        found = [finding[:2] for finding in verify_table(paths)]
        assert found == [("missing-file", path), ("orphan-file", "windows/spec=s0/x.parquet")]
    finally:
        memory.rm("/verify", recursive=True)


def test_streams_of_one_file_are_read_in_turns(tmp_path):
    with (tmp_path / "spool").open("w+b") as file:
        streams = []
        for number in range(3):
            streams.append(Stream(file))
            for value in range(1000):
                streams[-1].add([number, value, "ü\n"])
        assert list(zip(*streams)) == [
            tuple([number, value, "ü\n"] for number in range(3)) for value in range(1000)
        ]
        assert list(Stream(file)) == []
