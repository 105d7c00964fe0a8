"""`l3flow embed --root`: what does not really lie below the root is not read, and has its row."""

import os

import pytest

from l3core import pinned
from l3core.containment import contained
from launch import embed_options
from launch.main import main
from tests.corpus import FLAGS, ledger, snapshot, table_rows, write_audio


@pytest.fixture
def corpus(tmp_path):
    """A corpus with links to elsewhere, and to itself."""
    root = tmp_path / "root"
    write_audio(root / "a.wav", seed=1)
    write_audio(root / "deep/b.wav", seed=2)
    write_audio(tmp_path / "out/Über.wav", seed=3)
    write_audio(tmp_path / "out/deeper/d.wav", seed=4)
    (root / "file.wav").symlink_to(tmp_path / "out/Über.wav")
    (root / "folder").symlink_to("../out")
    (root / "chain.wav").symlink_to(root / "file.wav")
    (root / "inside.wav").symlink_to("deep/b.wav")
    (root / "nowhere.wav").symlink_to(tmp_path / "nothing.wav")
    return root


OUTSIDE = ["chain.wav", "file.wav", "folder/deeper/d.wav", "folder/Über.wav", "nowhere.wav"]
INSIDE = ["a.wav", "deep/b.wav", "inside.wav"]


def embed(corpus, table, *more):
    return main(["embed", "--input", str(corpus), "--output", str(table), *FLAGS, "--quiet", *more])


def by_status(table):
    found = {}
    for clip_id, row in ledger(table).items():
        found.setdefault(row["status"], []).append(clip_id)
    return {status: sorted(clip_ids) for status, clip_ids in found.items()}


def test_what_links_lead_to_outside_is_forbidden(corpus, tmp_path):
    table = tmp_path / "table"
    assert embed(corpus, table, "--root", str(corpus)) == 0
    assert by_status(table) == {"ok": INSIDE, "forbidden": OUTSIDE}
    assert {row[0] for row in table_rows(table)} == set(INSIDE)
    for clip_id in OUTSIDE:
        row = ledger(table)[clip_id]
        assert row["error"] == f"a link that leads out of --root {corpus}"
        assert (row["size_bytes"], row["version"], row["checksum"]) == (0, "", None)
    assert main(["verify", "--table", str(table), "--quiet"]) == 0
    before = snapshot(table)
    assert embed(corpus, table, "--root", str(corpus), "--strict") == 3
    assert {name for name in snapshot(table) if not name.startswith("runs/")} <= before.keys()


def test_without_root_links_are_followed(corpus, tmp_path):
    table = tmp_path / "table"
    assert embed(corpus, table) == 0
    assert by_status(table) == {
        "ok": sorted([*INSIDE, *OUTSIDE[:-1]]),
        "vanished": ["nowhere.wav"],
    }
    assert len(table_rows(table)) == 7 * 5


def test_root_drops_what_was_read_by_way_of_a_link_and_its_end_brings_it_back(corpus, tmp_path):
    table = tmp_path / "table"
    assert embed(corpus, table) == 0
    before = table_rows(table)
    assert embed(corpus, table, "--root", str(corpus), "--allow-shrink") == 0
    assert by_status(table) == {"ok": INSIDE, "forbidden": OUTSIDE}
    assert {row[0] for row in table_rows(table)} == set(INSIDE)
    assert embed(corpus, table) == 0
    assert table_rows(table) == before


@pytest.mark.parametrize("more", ["--full", "--verify-content", "--retry-unreadable", "--limit=9"])
def test_no_other_option_reads_it(corpus, tmp_path, more):
    table = tmp_path / "table"
    assert embed(corpus, table) == 0
    assert embed(corpus, table, "--root", str(corpus), more) == 0
    assert by_status(table) == {"ok": INSIDE, "forbidden": OUTSIDE}


def test_a_dry_run_opens_none_of_it(corpus, tmp_path, monkeypatch):
    opened = []
    original = pinned.open_below

    def noting(path, root):
        opened.append(os.path.relpath(path, corpus))
        return original(path, root)

    monkeypatch.setattr(pinned, "open_below", noting)
    assert embed(corpus, tmp_path / "table", "--root", str(corpus), "--dry-run") == 0
    assert sorted(opened) == INSIDE


def test_a_link_that_is_put_there_after_the_plan(corpus, tmp_path, monkeypatch):
    """The shard tells the worker below what it has to stay."""
    table = tmp_path / "table"

    def then_swapped(found, root):
        yield from contained(found, root)
        (corpus / "a.wav").rename(tmp_path / "out/a.wav")  # its size and time stay
        (corpus / "a.wav").symlink_to(tmp_path / "out/a.wav")

    monkeypatch.setattr(embed_options, "contained", then_swapped)
    assert embed(corpus, table, "--root", str(corpus)) == 0
    assert (corpus / "a.wav").is_symlink()
    assert ledger(table)["a.wav"]["status"] == "forbidden"
    assert ledger(table)["deep/b.wav"]["status"] == "ok"


def test_dots_in_names_do_not_lead_out(corpus, tmp_path, capsys):
    table = tmp_path / "table"
    outside = f"{corpus}/../out/Über.wav"
    (tmp_path / "list.txt").write_text(f"{corpus}/deep/../a.wav\n{outside}\n")
    for given in (outside, f"@{tmp_path}/list.txt", f"{corpus}/../out/*.wav", f"{corpus}/.."):
        assert embed(given, table, "--root", str(corpus)) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert f"is not below the root {corpus}" in said
    assert embed(f"{corpus}/deep/../a.wav", table, "--root", f"{corpus}/deep/..") == 0
    assert by_status(table) == {"ok": ["a.wav"]}


def test_dots_in_the_names_of_a_bucket_do_not_lead_out(gcs, tmp_path):
    bucket = gcs.make_bucket("dotted-names")
    (tmp_path / "list.txt").write_text(f"{bucket}/base/../secret.wav\n{bucket}/base/none.wav\n")
    gcs.clear()
    assert embed(f"@{tmp_path}/list.txt", tmp_path / "table", "--root", f"{bucket}/base") == 0
    rows = ledger(tmp_path / "table")
    assert {clip_id: row["status"] for clip_id, row in rows.items()} == {
        "../secret.wav": "forbidden",
        "none.wav": "vanished",
    }
    assert rows["../secret.wav"]["error"] == f"a name that leads out of --root {bucket}/base"
    assert gcs.requests("alt=media") == []
