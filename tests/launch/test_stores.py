"""The whole job from bucket to bucket equals the one on a disk: Google's store and S3, real clients."""

import posixpath

import fsspec
import pyarrow.dataset as ds

from l3core.table.layout import TablePaths
from l3core.table.read import read_windows
from l3core.table.state import load_state
from launch.main import main
from tests.corpus import FLAGS, MIXED, replace_file, staged_runs, write_audio, write_mixed


def upload(folder, uri):
    """Make the objects below a URI those of a folder."""
    fs, path = fsspec.core.url_to_fs(uri, use_listings_cache=False)
    there = {name.removeprefix(path + "/") for name in fs.find(path)}
    here = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    for name in there - here.keys():
        fs.rm(posixpath.join(path, name))
    for name, file in here.items():
        if name not in there or fs.cat_file(posixpath.join(path, name)) != file.read_bytes():
            fs.pipe_file(posixpath.join(path, name), file.read_bytes())


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
