"""The whole job from bucket to bucket equals the one on a disk: Google's store and S3, real clients."""

import re

import fsspec
import pyarrow.dataset as ds
import pytest

from l3core import pinned
from l3core.table.layout import TablePaths
from l3core.table.read import read_windows
from l3core.table.state import load_state
from launch.main import main
from tests.corpus import (
    FLAGS,
    MIXED,
    replace_file,
    staged_runs,
    upload,
    write_audio,
    write_files,
    write_mixed,
)


def embed(source, table, *more):
    return main(["embed", "--input", f"{source}/**", "--output", str(table), *FLAGS, "--quiet", *more])


def rows(table):
    metadata, vectors = read_windows(str(table))
    return [(*row.values(), vector.tobytes()) for row, vector in zip(metadata.to_pylist(), vectors)]


def ledger(table):
    """What of the ledger does not depend on the store."""
    fs, path = fsspec.core.url_to_fs(str(table), use_listings_cache=False)
    found = ds.dataset(f"{path}/clips", filesystem=fs, format="parquet").to_table().to_pylist()
    names = ("status", "frames", "codec", "windows_expected", "windows_written")
    return {row["clip_id"]: [row[name] for name in names] for row in found}


def change(corpus):
    replace_file(corpus / "a.wav", 1.5, seed=90)
    (corpus / "short.wav").unlink()
    (corpus / "a-b.wav").write_text("no audio any more")
    write_audio(corpus / "new Ü=%'.wav", 0.7, seed=91)


def test_bucket_to_bucket_equals_disk_to_disk(bucket, tmp_path):
    corpus, local = tmp_path / "corpus", tmp_path / "table"
    corpus.mkdir()
    write_mixed(corpus)
    source, table = f"{bucket}/cor pus", f"{bucket}/tables/t"
    for again in range(3):
        upload(corpus, source)
        prune = ["--prune", "--allow-shrink"] if again else []
        assert embed(source, table, *prune) == embed(corpus, local, *prune) == 0
        assert rows(table) == rows(local)
        assert ledger(table) == ledger(local)
        assert staged_runs(table) == []
        assert main(["verify", "--table", table, "--quiet"]) == 0
        if again == 0:
            assert sorted(ledger(table)) == sorted(MIXED)
            change(corpus)
    assert load_state(TablePaths(table)).commits == 2  # the third run had nothing to do
    assert main(["compact", "--table", table, "--quiet"]) == 0
    assert rows(table) == rows(local)


def test_a_store_that_is_down_fails_the_run_before_its_commit(gcs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pinned, "DEADLINE_S", 0.5)
    bucket, corpus, table = gcs.make_bucket("store-is-down"), tmp_path / "corpus", tmp_path / "table"
    write_files(corpus, 30, 0.4)
    upload(corpus, f"{bucket}/c")
    first = [f"{bucket}/c/00{number}.wav" for number in range(4)]
    assert main(["embed", "--input", *first, "--output", str(table), *FLAGS, "--quiet"]) == 0
    before = rows(table)
    gcs.fault("^GET .*c/01.*alt=media", status=503)  # ten of them

    assert embed(f"{bucket}/c", table, "--max-storage-errors", "9") == 1
    said = capsys.readouterr().err.strip()
    assert re.search(
        r"could not be read from their store: 10, and --max-storage-errors allows 9: run it again", said
    )
    assert "\n" not in said
    assert rows(table) == before
    assert load_state(TablePaths(str(table))).commits == 1

    assert embed(f"{bucket}/c", table, "--max-storage-errors", "40%") == 0  # 10 of 26
    found = ledger(table)
    assert [found[f"01{number}.wav"][0] for number in range(10)] == ["storage-error"] * 10
    assert sum(row[0] == "ok" for row in found.values()) == 20
    gcs.clear()
    assert embed(f"{bucket}/c", table) == 0
    assert {row[0] for row in ledger(table).values()} == {"ok"}
    embed(corpus, tmp_path / "local")
    assert rows(table) == rows(tmp_path / "local")


@pytest.mark.parametrize("value", ["1 %", "-1", "many", "5%%"])
def test_shares_that_are_none(value, capsys):
    assert main(["embed", "--input", "x", "--output", "y", f"--max-storage-errors={value}"]) == 2
    assert "needs a number or a share as 5%" in capsys.readouterr().err
