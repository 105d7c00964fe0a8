"""Consumers of a table, each reading folders of Parquet files as its users would.

Run in an environment of its own (make .venv/engines), one process for each consumer:
`python consumers.py NAME JOBS OUT`. JOBS is JSON, name -> folder. For each, what was read is written to
OUT/<name>.arrow, as Arrow made of what the consumer gives its user; OUT/facts.json has the consumer's
version and, for each folder, what kind of thing its vectors are, or the error.
"""

import atexit
import json
import os
import shutil
import sys
import tempfile
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet


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
    "flink": Consumer(
        "Flink SQL",
        "flink-parquet",
        "WITH ('connector' = 'filesystem', 'path' = '{folder}', 'format' = 'parquet', "
        "'parquet.utc-timezone' = 'true')",
    ),
}
FLINK = "L3FLOW_TEST_FLINK_SQL"  # a variable: the folder of its jars
FLINK_COLUMNS = {
    "windows": "clip_id STRING, `window` INT, start_s DOUBLE, silent BOOLEAN, embedding ARRAY<FLOAT>",
    "clips": (
        "clip_id STRING, uri STRING, size_bytes BIGINT, version STRING, checksum STRING, status STRING, "
        "error STRING, sample_rate INT, channels INT, frames BIGINT, duration_s DOUBLE, codec STRING, "
        "windows_expected BIGINT, windows_written BIGINT, files ARRAY<STRING>, run_id STRING, "
        "embedded_at TIMESTAMP_LTZ(6), spec STRING"
    ),
}
# Where Flink writes what it read; instants in words, lest an error made both ways is not seen.
FLINK_WRITES = "WITH ('connector' = 'filesystem', 'path' = '{folder}', 'format' = 'parquet')"


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


def read_flink(consumer):
    py4j = import_module("py4j.java_gateway")
    jars = Path(find_spec("pyspark").origin).parent / "jars"  # has py4j's, and Hadoop's classes
    class_path = [f"{os.environ[FLINK]}/*", *map(str, jars.glob("hadoop-client-*.jar"))]
    options = [
        "-XX:TieredStopAtLevel=1",  # starts sooner
        "-XX:+UseSerialGC",
        f"-Djava.io.tmpdir={Path.home()}",
        "-Duser.timezone=Asia/Kolkata",  # must not matter
    ]
    port = py4j.launch_gateway(
        jarpath=str(next(jars.glob("py4j-*.jar"))),
        classpath=os.pathsep.join(class_path),
        javaopts=options,
        die_on_exit=True,
    )
    gateway = py4j.JavaGateway(gateway_parameters=py4j.GatewayParameters(port=port))
    api = gateway.jvm.org.apache.flink.table.api
    tables = api.TableEnvironment.create(api.EnvironmentSettings.inBatchMode())
    for name, value in {"parallelism.default": "1", "table.local-time-zone": "UTC"}.items():
        tables.getConfig().set(name, value)

    def read(folder):
        kind = "clips" if Path(folder).name == "clips" else "windows"
        columns = FLINK_COLUMNS[kind]
        names = [column.split()[0] for column in columns.split(", ")]
        values = ["CAST(embedded_at AS STRING)" if name == "embedded_at" else name for name in names]
        found = consumer.read.format(folder=folder)
        if kind == "clips":
            found = f"PARTITIONED BY (spec) {found}"
        for name in ("found", "written"):
            tables.executeSql(f"DROP TEMPORARY TABLE IF EXISTS {name}")
        with tempfile.TemporaryDirectory() as folder:
            to = FLINK_WRITES.format(folder=folder)
            in_words = columns.replace("TIMESTAMP_LTZ(6)", "STRING")
            tables.executeSql(f"CREATE TEMPORARY TABLE found ({columns}) {found}")
            tables.executeSql(f"CREATE TEMPORARY TABLE written ({in_words}) {to}")
            done = tables.executeSql(f"INSERT INTO written SELECT {', '.join(values)} FROM found")
            getattr(done, "await")()
            rows = pyarrow.parquet.read_table(folder)
        if kind == "windows":
            return rows, "ARRAY<FLOAT>"
        instants = rows["embedded_at"].cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))
        return rows.set_column(names.index("embedded_at"), "embedded_at", instants), None

    return read


def version_of(package):
    """Of a Python package, or of Flink's jars."""
    if not package.startswith("flink-"):
        return version(package)
    return next(Path(os.environ[FLINK]).glob(f"{package}-*.jar")).stem.removeprefix(f"{package}-")


def main(name, jobs, out):
    consumer = CONSUMERS[name]
    read = globals()[f"read_{name}"](consumer)
    facts = {"version": version_of(consumer.package), "kinds": {}, "errors": {}}
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
