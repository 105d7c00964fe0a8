"""State: what the journal says is in a table, and which spec a prefix means."""

import json

import pytest

from l3core import storage
from l3core.errors import TableError
from l3core.table import state as module
from l3core.table.journal import publish, repair
from l3core.table.json_objects import create_json
from l3core.table.layout import TablePaths
from l3core.table.state import TableState, choose_spec, existing_state, keep_index, load_state


@pytest.fixture
def paths(tmp_path):
    return TablePaths(str(tmp_path / "table"))


def commit(paths, number, *, added=(), removed=(), published=True, spec="s1", layout=1):
    """Journal a commit whose staged files hold their own names."""
    staged = {path: f"_l3flow/staging/run-{number}/{path.replace('/', '-')}" for path in added}
    for path, place in staged.items():
        storage.write_bytes(paths.at(place), path.encode())
    entry = {
        "writer": f"w{number}",
        "spec": {"fingerprint": spec},
        "staged": staged,
        "record": {
            "layout": layout,
            "commit": number,
            "run_id": f"run-{number}",
            "root": "/corpus",
            "fingerprint": spec,
            "files_added": [{"path": path, "rows": 1} for path in added],
            "files_removed": list(removed),
        },
    }
    assert storage.create(f"{paths.journal}/{number:08d}.json", json.dumps(entry).encode())
    if published:
        publish(paths, entry)
    return entry


def files(paths):
    """Relative paths of the table that a plain reader sees."""
    root = storage.filesystem(paths.root)[1]
    found = storage.filesystem(paths.root)[0].find(root)
    return sorted(p.removeprefix(f"{root}/") for p in found if "_l3flow" not in p)


A, B, C = "windows/spec=s1/a.parquet", "clips/spec=s1/b.parquet", "windows/spec=s1/c.parquet"


def test_no_table(paths):
    assert load_state(paths) == TableState(0, None, {}, None, {})
    assert repair(paths) == TableState(0, None, {}, None, {})
    with pytest.raises(TableError, match=f"no table at {paths.root}"):
        existing_state(paths)
    assert not storage.exists(paths.root)  # looking makes nothing


def test_commits_are_replayed(paths):
    commit(paths, 1, added=[A, B])
    commit(paths, 2, added=[C], removed=[A])
    state = existing_state(paths)
    assert (state.commits, state.root, state.pending) == (2, "/corpus", None)
    assert sorted(state.files) == [B, C]
    assert state.files[C] == {"path": C, "rows": 1}
    assert state.windows("s1") == [C]
    assert state.ledger("s1") == [B]
    assert state.windows("s") == state.ledger("s2") == []
    assert state.fingerprints == ["s1"]
    assert files(paths) == [B, "runs/run-1.json", "runs/run-2.json", "specs/s1.json", "table.json", C]


def test_publishing_may_be_repeated(paths):
    commit(paths, 1, added=[A])
    entry = commit(paths, 2, added=[C], removed=[A])
    before = files(paths)
    publish(paths, entry)
    assert files(paths) == before


def test_what_is_pending_is_in_the_state_and_repair_brings_it_into_place(paths):
    commit(paths, 1, added=[A, B])
    entry = commit(paths, 2, added=[C], removed=[A], published=False)
    state = load_state(paths)
    assert state.pending == entry
    assert sorted(state.files) == [B, C]
    assert A in files(paths)
    assert C not in files(paths)
    assert repair(paths).pending is None
    assert A not in files(paths)
    assert storage.read_bytes(paths.at(C)) == C.encode()
    assert json.loads(storage.read_bytes(paths.table)) == {"layout": 1, "root": "/corpus"}
    assert json.loads(storage.read_bytes(paths.at("runs/run-2.json"))) == entry["record"]


def test_the_record_is_published_last(paths):
    """It says that all the rest is in place: whatever fails before leaves the commit pending."""
    commit(paths, 1, added=[A, B], published=False)
    storage.remove(paths.at("_l3flow/staging/run-1/clips-spec=s1-b.parquet"))
    with pytest.raises(FileNotFoundError):
        repair(paths)
    assert load_state(paths).pending is not None


def test_another_layout_is_refused(paths):
    commit(paths, 1, added=[A], layout=2)
    with pytest.raises(TableError, match="has table layout 2, this l3flow knows 1"):
        load_state(paths)


def test_half_written_entries_do_not_count(paths):
    commit(paths, 1, added=[A])
    storage.write_bytes(f"{paths.journal}/00000002.json.0123.tmp", b"{half")
    assert load_state(paths).commits == 1


def test_choosing_a_spec(paths):
    state = TableState(
        1, "/", dict.fromkeys(f"clips/spec={s}/x.parquet" for s in ("s12", "s13", "s2")), None, {}
    )
    assert choose_spec(paths, state, "s12") == "s12"
    assert choose_spec(paths, state, "s2") == "s2"
    with pytest.raises(TableError, match=r"--spec s1 is the beginning of several .*: s12, s13, s2"):
        choose_spec(paths, state, "s1")
    with pytest.raises(TableError, match=r"--spec s9 is none of .*: s12, s13, s2"):
        choose_spec(paths, state, "s9")
    with pytest.raises(TableError, match=r"several specs, choose one .*: s12, s13, s2"):
        choose_spec(paths, state, None)


def test_the_only_spec_is_chosen(paths):
    state = TableState(1, "/", {"clips/spec=s12/x.parquet": {}}, None, {})
    assert choose_spec(paths, state, None) == "s12"


def test_a_table_without_any_spec_says_so(paths):
    """After `--allow-empty` only."""
    with pytest.raises(TableError) as caught:
        choose_spec(paths, TableState(1, "/", {}, None, {}), None)
    assert "several" not in str(caught.value)


def test_what_many_commits_come_to_is_kept(paths, monkeypatch):
    monkeypatch.setattr(module, "COMMITS_AN_INDEX", 3)
    for number in range(1, 12):
        name = f"windows/spec=s1/{number}.parquet"
        gone = [f"windows/spec=s1/{number - 1}.parquet"] if number % 2 == 0 else []
        commit(paths, number, added=[name], removed=gone)
        keep_index(paths)
    replayed = load_state(paths)
    assert sorted(replayed.files) == [f"windows/spec=s1/{n}.parquet" for n in (10, 11, 2, 4, 6, 8)]
    assert storage.names_below(paths.index, suffix=".json") == ["00000006.json", "00000009.json"]
    read = []
    real = module.read_json
    monkeypatch.setattr(module, "read_json", lambda uri: read.append(uri[-13:]) or real(uri))
    assert load_state(paths) == replayed
    assert read == ["00000009.json", "00000010.json", "00000011.json"]
    for name in storage.names_below(paths.index, suffix=".json"):
        storage.remove(f"{paths.index}/{name}")
    assert load_state(paths) == replayed  # it is derived: nothing is lost with it


def test_a_kept_state_does_not_hide_that_the_last_commit_is_pending(paths, monkeypatch):
    monkeypatch.setattr(module, "COMMITS_AN_INDEX", 2)
    commit(paths, 1, added=[A])
    commit(paths, 2, added=[B])
    keep_index(paths)
    storage.remove(paths.record("run-2"))
    assert load_state(paths).pending["record"]["run_id"] == "run-2"


def test_a_missing_commit_is_no_shorter_history(paths):
    commit(paths, 1, added=[A])
    commit(paths, 2, added=[B])
    commit(paths, 3, added=[C], removed=[A])
    storage.remove(f"{paths.journal}/00000002.json")
    with pytest.raises(TableError, match="commit 2 is missing"):
        load_state(paths)


@pytest.mark.parametrize("content", [b"", b"{half", b"[1]"])
def test_a_damaged_commit_is_one_line(paths, content):
    commit(paths, 1, added=[A])
    storage.write_bytes(f"{paths.journal}/00000002.json", content)
    with pytest.raises(TableError, match=r"00000002.json is damaged, it is no JSON"):
        load_state(paths)


def test_an_answer_that_is_lost_is_read_back(paths, monkeypatch):
    create = storage.create

    def lost(uri, content):
        create(uri, content)
        raise TimeoutError("no answer")

    monkeypatch.setattr(storage, "create", lost)
    assert create_json(f"{paths.journal}/x.json", {"a": 1}) == {"a": 1}
    assert create_json(f"{paths.journal}/x.json", {"a": 2}) == {"a": 1}

    def refused(uri, content):
        raise TimeoutError("no answer")

    monkeypatch.setattr(storage, "create", refused)
    with pytest.raises(TimeoutError):
        create_json(f"{paths.journal}/y.json", {"a": 1})


def test_a_dropped_partition_is_cleared(paths):
    commit(paths, 1, added=[A, B])
    entry = {
        "spec": None,
        "staged": {},
        "cleared": ["specs/s1.json"],
        "record": {
            "layout": 1,
            "commit": 2,
            "run_id": "run-2",
            "root": "/corpus",
            "fingerprint": "s1",
            "files_added": [],
            "files_removed": [A, B],
        },
    }
    assert storage.create(f"{paths.journal}/00000002.json", json.dumps(entry).encode())
    assert repair(paths).fingerprints == []
    assert files(paths) == ["runs/run-1.json", "runs/run-2.json", "table.json"]
