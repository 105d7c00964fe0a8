"""Whoever may write to a table's folder gets nothing outside it read, moved or removed by a run."""

import json
import os
import shutil

import pytest

from l3core import storage
from l3core.crossval.plan import OutputPaths
from l3core.crossval.results import kept_models
from l3core.errors import TableError
from l3core.table.layout import TablePaths
from l3core.table.lock import jobs_of, owners
from l3core.table.read import read_windows
from launch.main import main
from tests.corpus import FLAGS, PlainRun, snapshot, write_files

COMMANDS = ("repair", "compact", "specs", "runs", "specs drop s", "reroot --root /")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A corpus and a table of it, two commits."""
    folder = tmp_path_factory.mktemp("made")
    PlainRun(write_files(folder / "corpus", 3), folder / "table", "run-1").all()
    PlainRun(write_files(folder / "corpus", 1, first=3), folder / "table", "run-2").all()
    return folder


@pytest.fixture
def corpus(made):
    return made / "corpus"


@pytest.fixture
def table(made, tmp_path):
    return shutil.copytree(made / "table", tmp_path / "table")


@pytest.fixture
def outside(tmp_path):
    """Somebody's files, which lie as those of a table do."""
    folder = tmp_path / "outside"
    names = ("a.parquet", "spec=x/a.parquet", "done/000000.json", "run-9/plan.json", "run-9/done/x.json")
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return folder


def forge(table, change, published=False):
    """Write a journal entry behind the last one, as somebody else would."""
    journal = table / "_l3flow/journal"
    names = sorted(path.name for path in journal.iterdir())
    entry = json.loads((journal / names[-1]).read_text())
    number = len(names) + 1
    entry["record"] |= {"run_id": "evil", "commit": number, "files_added": [], "files_removed": []}
    entry |= {"staged": {}, "cleared": []}
    change(entry)
    (journal / f"{number:08d}.json").write_text(json.dumps(entry))


def removes(path):
    return lambda entry: entry["record"].update(files_removed=[path])


def clears(path):
    return lambda entry: entry.update(cleared=[path])


def moves(source, final="windows/spec=x/got.parquet"):
    def change(entry):
        file = {"path": final, "sha256": "0", "bytes": 2, "rows": 0}
        entry["record"]["files_added"] = [file]
        entry["staged"] = {final: source}

    return change


def runs_as(run_id):
    return lambda entry: entry["record"].update(run_id=run_id)


ENTRIES = {
    "removes ..": removes("../outside/a.parquet"),
    "removes .. in a partition": removes("windows/spec=x/../../../outside/a.parquet"),
    "removes absolute": removes("{outside}/a.parquet"),
    "clears ..": clears("../outside/a.parquet"),
    "clears absolute": clears("{outside}/a.parquet"),
    "clears hidden ..": clears("specs/../../outside/a.parquet"),
    "moves from ..": moves("../outside/a.parquet"),
    "moves from .. in staging": moves("_l3flow/staging/x/../../../../outside/a.parquet"),
    "moves from absolute": moves("{outside}/a.parquet"),
    "moves to ..": moves("_l3flow/staging/x/a", "../outside/a.parquet"),
    "moves to absolute": moves("_l3flow/staging/x/a", "{outside}/a.parquet"),
    "is run ..": runs_as("../../outside/a"),
    "removes a number": removes(7),
    "moves a list": moves([]),
    "removes NUL": removes("windows/spec=x/\0.parquet"),
}


def every_command(table, corpus):
    """Run all that a night may; their codes."""
    embed = ["embed", "--input", str(corpus), "--output", str(table), *FLAGS]
    codes = [main([*command.split(), "--table", str(table)]) for command in COMMANDS]
    return [*codes, main(embed), main([*embed, "--prune", "--full"])]


@pytest.mark.parametrize("kind", ENTRIES)
def test_a_journal_that_leads_out_of_its_table_moves_and_removes_nothing(
    kind, table, outside, corpus, capsys
):
    def change(entry):
        ENTRIES[kind](entry)
        text = json.dumps(entry).replace("{outside}", str(outside))
        entry.update(json.loads(text))

    forge(table, change)
    before = snapshot(outside)
    codes = every_command(table, corpus)
    assert snapshot(outside) == before
    assert set(codes) <= {1, 2}
    assert "Traceback" not in capsys.readouterr().err


def linked(place, table, outside):
    """Put a link to somebody's folder where a folder of the table is."""
    where = table / place
    if where.is_dir():
        where.rename(table.parent / "kept")
    where.parent.mkdir(parents=True, exist_ok=True)
    where.symlink_to(outside)


PLACES = (
    *("_l3flow/staging", "_l3flow/staging/run-0", "windows/spec=evil", "clips/spec=evil"),
    *("windows", "clips", "runs", "specs"),
    *("_l3flow/journal", "_l3flow/index", "_l3flow/lock", "_l3flow"),
)


@pytest.mark.parametrize("place", PLACES)
def test_a_folder_of_a_table_that_is_a_link_to_elsewhere_gets_nothing_there_changed(
    place, table, outside, corpus, capsys
):
    linked(place, table, outside)
    before = snapshot(outside)
    every_command(table, corpus)
    assert snapshot(outside) == before
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert "leads out of the table" in said.err


@pytest.mark.parametrize("place", ["windows", "clips", "runs", "specs"])
def test_a_query_reads_nothing_through_a_link_to_elsewhere(place, table, outside, capsys):
    """What lies there looks like the table's own: its files, byte for byte."""
    shutil.rmtree(outside)
    shutil.copytree(table / place, outside)
    linked(place, table, outside)
    for sql in (f"FROM {place}", "SELECT count(*) FROM windows, clips, runs, specs"):
        assert main(["query", "--table", str(table), sql]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert "leads out of the table" in said.err


@pytest.mark.parametrize("kind", ENTRIES)
def test_a_query_of_a_table_with_such_a_journal_is_answered_or_refused(kind, table, outside, capsys):
    forge(table, ENTRIES[kind])
    before = snapshot(outside)
    code = main(["query", "--table", str(table), "--json", "SELECT count(*) AS n FROM clips, windows"])
    said = capsys.readouterr()
    assert code in (0, 1, 2)
    assert (code == 0) == (said.err == "")
    assert said.err.count("\n") <= 1
    assert snapshot(outside) == before


def test_what_a_dead_run_is_said_to_have_finished_is_not_taken_from_elsewhere(
    table, outside, corpus, capsys
):
    fingerprint = next((table / "windows").iterdir()).name.removeprefix("spec=")
    done = table / "_l3flow/staging/run-0/done"
    done.mkdir(parents=True)
    owner = {"fingerprint": fingerprint, "root": str(corpus)}
    (done.parent / "owner.json").write_text(json.dumps(owner))
    uri = str(write_files(corpus, 1, first=4) / "004.wav")
    listed = storage.describe(uri)
    facts = {"path": f"windows/spec={fingerprint}/x.parquet", "bytes": 2, "rows": 5}
    manifest = {
        "staged": str(outside / "a.parquet"),
        "file": facts,
        "pieces": [[uri, listed.size_bytes, listed.version, 0, None]],
        "clips": [{"clip_id": "004.wav", "status": "ok"}],
    }
    (done / "000000.json").write_text(json.dumps(manifest))
    before = snapshot(outside)
    code = main(["embed", "--input", str(corpus), "--output", str(table), *FLAGS])
    assert snapshot(outside) == before
    assert code == 2
    assert "leads out of the table" in capsys.readouterr().err


def test_a_windows_file_that_is_a_link_to_elsewhere_is_not_read(table, tmp_path):
    path = next(table.glob("windows/*/*.parquet"))
    other = tmp_path / "secret.parquet"
    os.rename(path, other)
    path.symlink_to(other)
    with pytest.raises(TableError, match="leads out of the table"):
        read_windows(table)


def test_links_within_a_table_and_to_a_table_are_followed(table, tmp_path):
    expected = read_windows(table)[1]
    (tmp_path / "name").symlink_to(table)
    (table / "windows").rename(table / "moved")
    (table / "windows").symlink_to(table / "moved")
    assert (read_windows(tmp_path / "name")[1] == expected).all()


@pytest.mark.parametrize("kind", [TablePaths, OutputPaths])
@pytest.mark.parametrize("root", ["gs://b/table", "s3://b/table", "memory://table", "/data/table"])
def test_paths_of_a_table_and_of_results_are_below_them(root, kind):
    paths = kind(root)
    assert paths.at("windows/spec=a..b/...parquet") == f"{root}/windows/spec=a..b/...parquet"
    for bad in ("../x", "windows/../../x", "/etc/passwd", "a\0b", "windows/.."):
        with pytest.raises(TableError, match=r"leads out of the (table|output)"):
            paths.at(bad)


def test_a_fold_of_results_that_somebody_else_wrote_puts_its_model_nowhere_else(tmp_path):
    paths = OutputPaths(str(tmp_path / "out"))
    (tmp_path / "out/models/fold..").mkdir(parents=True)
    (name,) = kept_models([{"fold": "../../../../evil", "validation_accuracy": 1.0}])
    with pytest.raises(TableError, match="leads out of the output"):
        paths.at(name)


LOCKS = ("[]", "7", "[" * 100_000, "{}", '{"run_id": 1, "host": "h", "pid": 1}')
MORE_LOCKS = tuple(
    json.dumps({"run_id": "r", "host": "h", "pid": 1} | each)
    for each in (
        {"pid": -1},
        {"pid": 2**70},
        {"pid": "x"},
        {"host": None},
        {"job": []},
        {"job": {"name": 1}},
    )
)


@pytest.mark.parametrize("text", LOCKS + MORE_LOCKS, ids=range(len(LOCKS + MORE_LOCKS)))
def test_a_lock_that_is_none_of_ours_is_none(text, table, capsys):
    fingerprint = next((table / "windows").iterdir()).name.removeprefix("spec=")
    (table / "_l3flow/lock").mkdir(exist_ok=True)
    (table / f"_l3flow/lock/{fingerprint}.json").write_text(text)
    paths = TablePaths(str(table))
    assert owners(paths) == {}
    assert jobs_of(paths) == []
    assert main(["repair", "--table", str(table)]) == 0


def test_json_that_is_nested_without_end_is_damage(table, capsys):
    (table / "_l3flow/journal/00000003.json").write_text("[" * 100_000)
    assert main(["runs", "--table", str(table)]) == 2
    assert "is damaged" in capsys.readouterr().err
