"""Other engines read a table where it lies: the rows that they read from a disk."""

import duckdb
import fsspec
import polars as pl
import pyarrow.dataset as ds
import pytest

from launch.main import main
from tests.corpus import FLAGS, MIXED, upload, write_mixed


def by_pyarrow(fs, folder):
    return ds.dataset(folder, filesystem=fs, partitioning="hive").to_table()


def by_duckdb(fs, folder):
    with duckdb.connect() as connection:
        connection.register_filesystem(fs)
        files = fs.unstrip_protocol(folder) + "/*/*.parquet"
        return connection.sql(f"FROM read_parquet('{files}')").to_arrow_table()


def by_polars(fs, folder):
    dataset = ds.dataset(folder, filesystem=fs, partitioning="hive")
    return pl.scan_pyarrow_dataset(dataset).collect().to_arrow()


def by_polars_alone(fs, folder):
    files = fs.unstrip_protocol(folder) + "/**/*.parquet"
    return pl.read_parquet(files, hive_partitioning=True).to_arrow()


def rows(table):
    found = table.to_pylist()
    return sorted(found, key=lambda row: (row["clip_id"], row.get("window")))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engines")
    (folder / "corpus").mkdir()
    write_mixed(folder / "corpus")
    embed = ["embed", "--input", f"{folder}/corpus/**", "--output", f"{folder}/table", *FLAGS]
    assert main([*embed, "--quiet"]) == 0
    return folder / "table"


@pytest.mark.parametrize("part", ["windows", "clips"])
def test_every_engine_reads_a_bucket(table, bucket, part):
    upload(table, f"{bucket}/table")
    on_disk = rows(by_pyarrow(None, f"{table}/{part}"))
    assert {row["clip_id"] for row in on_disk} == {
        clip for clip, (_, windows) in MIXED.items() if part == "clips" or windows != 0
    }
    engines = [by_pyarrow, by_duckdb, by_polars]
    if bucket.startswith("s3"):  # its own client of Google's store knows no emulator
        engines.append(by_polars_alone)
    fs, path = fsspec.core.url_to_fs(bucket)
    for read in engines:
        assert rows(read(fs, f"{path}/table/{part}")) == on_disk, read.__name__
