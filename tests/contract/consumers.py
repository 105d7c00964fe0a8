"""Consumers of a table, each reading folders of Parquet files as its users would.

Run in an environment of its own (make .venv/engines), one process for each consumer:
`python consumers.py NAME JOBS OUT`. JOBS is JSON, name -> folder. For each, what was read is written to
OUT/<name>.arrow, as Arrow made of what the consumer gives its user; OUT/facts.json has the consumer's
version and, for each folder, what kind of thing its vectors are, or the error.
"""

import atexit
import json
import shutil
import sys
import tempfile
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa


class Consumer(NamedTuple):
    """What its users call it, the package, and the call that reads a folder."""

    title: str
    package: str
    read: str


CONSUMERS = {
    "pyarrow": Consumer("pyarrow", "pyarrow", "pyarrow.parquet.read_table(folder)"),
    "pandas": Consumer("pandas", "pandas", "pandas.read_parquet(folder)"),
    "polars": Consumer("Polars", "polars", 'polars.read_parquet(f"{folder}/**/*.parquet")'),
    "duckdb": Consumer("DuckDB", "duckdb", "FROM read_parquet('{folder}/**/*.parquet')"),
    "spark": Consumer("Apache Spark", "pyspark", "spark.read.parquet(folder)"),
    "datasets": Consumer(
        "Hugging Face datasets",
        "datasets",
        'load_dataset("parquet", data_files=f"{folder}/**/*.parquet")',
    ),
    "ray": Consumer("Ray Data", "ray", "ray.data.read_parquet(folder)"),
    "fastparquet": Consumer("fastparquet", "fastparquet", "ParquetFile(folder).to_pandas()"),
    "chdb": Consumer("ClickHouse (chdb)", "chdb", "FROM file('{folder}/**/*.parquet', Parquet)"),
}


def by_frame(frame):
    """A pandas frame as Arrow, and what a vector in it is."""
    kind = None
    if "embedding" in frame:
        vector = frame["embedding"].iloc[0]
        kind = type(vector).__name__
        kind += f" of {vector.dtype}" if hasattr(vector, "dtype") else ""
    return pa.Table.from_pandas(frame, preserve_index=False), kind


def kind_of(schema, name="embedding"):
    return str(schema.field(name).type) if name in schema.names else None


def read_pyarrow(consumer):
    import pyarrow.parquet

    def read(folder):
        table = eval(consumer.read, {"pyarrow": pyarrow, "folder": folder})
        return table, kind_of(table.schema)

    return read


def read_pandas(consumer):
    pandas = import_module("pandas")
    return lambda folder: by_frame(eval(consumer.read, {"pandas": pandas, "folder": folder}))


def read_polars(consumer):
    polars = import_module("polars")

    def read(folder):
        frame = eval(consumer.read, {"polars": polars, "folder": folder})
        return frame.to_arrow(), str(frame.schema.get("embedding"))

    return read


def read_duckdb(consumer):
    duckdb = import_module("duckdb")

    def read(folder):
        relation = duckdb.sql(consumer.read.format(folder=folder))
        kinds = dict(zip(relation.columns, map(str, relation.types)))
        return relation.to_arrow_table(), kinds.get("embedding")

    return read


def read_spark(consumer):
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", False)
    settings = {
        "spark.sql.session.timeZone": "UTC",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",  # starts sooner
        "spark.ui.showConsoleProgress": False,
        "spark.log.level": "ERROR",
    }
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()

    def read(folder):
        frame = eval(consumer.read, {"spark": spark, "folder": folder})
        return frame.toArrow(), dict(frame.dtypes).get("embedding")

    return read


def read_datasets(consumer):
    load_dataset = import_module("datasets").load_dataset

    def read(folder):
        with tempfile.TemporaryDirectory() as cache:
            call = consumer.read.removesuffix(")") + ", cache_dir=cache)"
            rows = eval(call, {"load_dataset": load_dataset, "folder": folder, "cache": cache})["train"]
            feature = rows.features.get("embedding")
            return rows.data.table.combine_chunks(), feature and str(feature)

    return read


def read_ray(consumer):
    ray = import_module("ray")
    folder = tempfile.mkdtemp(prefix="ray")  # short: sockets lie in it
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(ray.shutdown)
    small = {"num_cpus": 1, "object_store_memory": 200 * 2**20, "include_dashboard": False}
    ray.init(**small, log_to_driver=False, _temp_dir=folder)

    def read(folder):
        dataset = eval(consumer.read, {"ray": ray, "folder": folder})
        tables = ray.get(dataset.to_arrow_refs())
        table = pa.concat_tables(tables)
        return table, kind_of(table.schema)

    return read


def read_fastparquet(consumer):
    opened = import_module("fastparquet").ParquetFile
    return lambda folder: by_frame(eval(consumer.read, {"ParquetFile": opened, "folder": folder}))


def read_chdb(consumer):
    query = import_module("chdb").query

    def read(folder):
        rows = f"SELECT * {consumer.read.format(folder=folder)}"
        described = str(query(f"DESCRIBE ({rows})", "TSV")).splitlines()
        kinds = dict(line.split("\t")[:2] for line in described)
        answer = query(rows, "ArrowStream").bytes()
        return pa.ipc.open_stream(answer).read_all(), kinds.get("embedding")

    return read


def main(name, jobs, out):
    consumer = CONSUMERS[name]
    read = globals()[f"read_{name}"](consumer)
    facts = {"version": version(consumer.package), "kinds": {}, "errors": {}}
    for job, folder in json.loads(jobs).items():
        try:
            table, facts["kinds"][job] = read(folder)
        except Exception as error:
            facts["errors"][job] = f"{type(error).__name__}: {error}"
            continue
        with (
            pa.OSFile(f"{out}/{job}.arrow", "wb") as sink,
            pa.ipc.new_file(sink, table.schema) as writer,
        ):
            writer.write_table(table)
    Path(out, "facts.json").write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
