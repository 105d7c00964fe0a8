"""SQL from anybody: a query reads the table and nothing else, and changes nothing at all."""

import http.server
import os
import socketserver
import threading

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from l3core.sql.asking import Asking, open_views
from l3core.sql.files import BASE
from l3core.table.layout import TablePaths
from launch.main import main
from tests.corpus import PlainRun, write_files

SECRET = "the secret is 4711"
secret_variable = pa.table({"secret": [SECRET]})  # of Python, which SQL must not see

# {file}: a text file beside the table, {csv}, {parquet}, {database}: others there; {own}: a file of
# the table by its path, {ours}: by the name that DuckDB knows; {new}: where nothing is; {url}: a server.
READS = """\
SELECT * FROM read_text('{file}')
SELECT * FROM read_blob('{file}')
SELECT * FROM read_csv('{csv}')
SELECT * FROM '{csv}'
SELECT * FROM '{parquet}'
SELECT * FROM read_parquet('{parquet}')
SELECT * FROM read_parquet(['{ours}', '{parquet}'])
SELECT * FROM parquet_scan('{own}')
SELECT * FROM parquet_metadata('{parquet}')
SELECT * FROM parquet_schema('{own}')
SELECT * FROM parquet_kv_metadata('{parquet}')
SELECT * FROM parquet_file_metadata('{parquet}')
SELECT * FROM parquet_bloom_probe('{parquet}', 'a', 1)
SELECT * FROM read_json('{file}')
SELECT * FROM read_json_objects('{file}')
SELECT * FROM read_ndjson('{file}')
SELECT * FROM sniff_csv('{csv}')
SELECT * FROM glob('{folder}/*')
SELECT * FROM glob('/*')
SELECT * FROM read_text('{base}../../file.txt')
SELECT * FROM read_text('{base}{file}')
SELECT * FROM read_text('l3flow://{file}')
SELECT * FROM read_text('file://{file}')
SELECT * FROM read_text('memory://x')
SELECT * FROM read_text('local://{file}')
SELECT * FROM read_text('/proc/self/environ')
SELECT * FROM query('SELECT * FROM read_text(''{file}'')')
SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT * FROM read_text(''{file}'')'))
CREATE TABLE t AS FROM read_text('{file}')
CREATE VIEW v AS FROM read_csv('{csv}'); FROM v
CREATE MACRO m(x) AS TABLE SELECT * FROM read_text(x); FROM m('{file}')
CREATE TABLE t (a VARCHAR); COPY t FROM '{csv}'; FROM t
PREPARE p AS SELECT * FROM read_text($1); EXECUTE p('{file}')
SET VARIABLE place = '{file}'; SELECT * FROM read_text(getvariable('place'))
ATTACH '{database}' AS other; FROM other.t
ATTACH '{database}' AS other (READ_ONLY); FROM other.t
ATTACH '{parquet}' AS other; FROM other.main.other
IMPORT DATABASE '{folder}'
SELECT * FROM secret_variable
SELECT getenv('HOME')
SELECT * FROM duckdb_secrets()
SELECT * FROM which_secret('s3://bucket/x', 's3')
SELECT * FROM sqlite_scan('{database}', 't')
SELECT * FROM read_text('{url}')
SELECT * FROM read_parquet('{url}/x.parquet')
SELECT * FROM 's3://bucket/x.parquet'
SELECT * FROM 'gs://bucket/x.parquet'
SELECT * FROM 'hf://datasets/x/y.parquet'
ATTACH '{url}/x.db' AS other
ATTACH 'l3flow://table/other.db' AS other
ATTACH '{ours}' AS other; CREATE TABLE other.t AS SELECT 1; CHECKPOINT other
""".splitlines()
WRITES = """\
COPY clips TO '{new}'
COPY clips TO '{new}' (FORMAT parquet)
COPY clips TO '{new}' (FORMAT json)
COPY (SELECT 1) TO '{own}'
COPY (SELECT 1) TO '{own}' (USE_TMP_FILE false)
COPY (SELECT 1) TO '{ours}'
COPY (SELECT 1) TO '{ours}' (USE_TMP_FILE false)
COPY (SELECT 1) TO '{ours}' (FORMAT parquet, OVERWRITE_OR_IGNORE)
COPY (SELECT 1 AS a) TO '{base}windows' (FORMAT parquet, PARTITION_BY (a), OVERWRITE)
COPY (SELECT 1 AS a) TO '{folder}' (FORMAT parquet, PARTITION_BY (a), OVERWRITE)
COPY (SELECT 1 AS a) TO '{new}' (FORMAT parquet, PER_THREAD_OUTPUT)
COPY clips TO '{base}new.csv'
COPY clips TO 'relative.csv'
COPY clips TO '/dev/stdout'
COPY clips TO '{url}'
EXPLAIN ANALYZE COPY clips TO '{new}'
PREPARE p AS COPY clips TO '{new}'; EXECUTE p
EXPORT DATABASE '{new}'
EXPORT DATABASE '{base}new'
COPY FROM DATABASE memory TO other
ATTACH '{new}' AS other
ATTACH '{own}' AS other; CREATE TABLE other.t AS SELECT 1; CHECKPOINT other
ATTACH '{base}new' AS other; CREATE TABLE other.t AS SELECT 1; CHECKPOINT other
INSERT INTO clips SELECT * FROM clips
UPDATE windows SET silent = true
DELETE FROM windows
TRUNCATE windows
DROP TABLE windows
ALTER TABLE clips ADD COLUMN x INT
PRAGMA profiling_output = '{new}'
PRAGMA enable_profiling = 'json'
SET profiling_output = '{new}'
SET log_query_path = '{new}'
CALL enable_logging(storage = 'file', storage_path = '{new}')
CALL enable_logging('QueryLog', storage = 'file', storage_config = {{'path': '{new}'}})
SET temp_directory = '{new}'
SET secret_directory = '{new}'
CREATE PERSISTENT SECRET s (TYPE http, BEARER_TOKEN 'x')
CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')
""".splitlines()
UNLOCKS = """\
SET enable_external_access = true
SET disabled_filesystems = ''
SET allowed_directories = ['/']
SET allowed_paths = ['{file}']
SET lock_configuration = false
RESET lock_configuration
PRAGMA lock_configuration = false
SET GLOBAL enable_external_access = true
SET python_enable_replacements = true
SET python_scan_all_frames = true
SET autoload_known_extensions = true
SET allow_unsigned_extensions = true
SET allow_community_extensions = true
SET custom_extension_repository = '{url}'
SET extension_directory = '{folder}'
SET home_directory = '{folder}'
SET memory_limit = '1PB'
SET threads = 1000
INSTALL httpfs
INSTALL httpfs FROM '{url}'
INSTALL '{folder}/x.duckdb_extension'
FORCE INSTALL httpfs FROM community
LOAD httpfs
LOAD '{folder}/x.duckdb_extension'
LOAD '{base}x.duckdb_extension'
UPDATE EXTENSIONS
CREATE FUNCTION f AS 'import os'
""".splitlines()


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Counts who comes."""

    visits = 0

    def verify_request(self, request, client_address):
        Server.visits += 1
        return False


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a table and other files, a server, and what statements call them."""
    folder = tmp_path_factory.mktemp("hostile")
    run = PlainRun(write_files(folder / "corpus", 2), folder / "table", "run-1").all()
    (folder / "file.txt").write_text(SECRET)
    (folder / "file.csv").write_text(f"a,b\n1,{SECRET}\n")
    pq.write_table(secret_variable, folder / "file.parquet")
    with duckdb.connect(folder / "file.db") as database:
        database.execute(f"CREATE TABLE t AS SELECT '{SECRET}' AS a")
    (folder / "x.duckdb_extension").write_bytes(b"no extension")
    (folder / "schema.sql").write_text("CREATE TABLE t (a INT);")
    (folder / "load.sql").write_text("")
    own = next((folder / "table").glob("windows/*/*.parquet"))
    with Server(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {
            "folder": str(folder),
            "file": str(folder / "file.txt"),
            "csv": str(folder / "file.csv"),
            "parquet": str(folder / "file.parquet"),
            "database": str(folder / "file.db"),
            "own": str(own),
            "ours": BASE + str(own.relative_to(folder / "table")),
            "base": BASE,
            "new": str(folder / "new"),
            "url": f"http://127.0.0.1:{server.server_port}",
            "table": run.paths.root,
        }
        server.shutdown()


def contents(folder):
    """All files below a folder, and when each was changed."""
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            with open(path, "rb") as file:
                found[path] = (os.stat(path).st_mtime_ns, file.read())
    return found


@pytest.fixture
def unchanged(place, tmp_path, monkeypatch):
    """Nothing is there afterwards that was not before, and nobody has asked the server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    before, Server.visits = contents(place["folder"]), 0
    yield
    assert contents(place["folder"]) == before
    assert contents(tmp_path) == {}
    assert Server.visits == 0


@pytest.fixture
def asked(place, monkeypatch):
    """Runs SQL on a table; what it printed, or None where it was refused in one line."""
    monkeypatch.setattr("sys.stdin", None)

    def asked(sql, capsys):
        code = main(["query", "--table", place["table"], "--json", sql.format(**place)])
        said = capsys.readouterr()
        if code == 0:
            return said.out
        assert code == 2, said.err
        assert said.err.count("\n") == 1
        return None

    return asked


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("sql", READS)
def test_no_other_file_is_read(asked, capsys, sql):
    said = asked(sql, capsys)
    assert said is None or (SECRET not in said and said.strip() == "[]"), said


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("sql", [*WRITES, *UNLOCKS])
def test_nothing_is_written_and_nothing_unlocked(asked, capsys, sql):
    assert asked(sql, capsys) is None


@pytest.mark.usefixtures("unchanged")
def test_what_is_allowed_is_just_the_tables_own_files(place):
    """By their names in DuckDB, of the one spec; not by their paths, and not the table's other files."""
    question = Asking(TablePaths(place["table"]), None)
    sql = f"SELECT octet_length(content) n FROM read_blob('{place['ours']}')"
    (row,) = question.ask(sql, lambda rows: rows.read_all().to_pylist())
    assert row["n"] == os.path.getsize(place["own"])
    for name in ("table.json", "_l3flow/journal/00000001.json", "runs/run-1.json", "specs/x.json"):
        found = question.ask(f"FROM glob('{BASE}{name}')", lambda rows: rows.read_all().to_pylist())
        assert found == []


@pytest.mark.usefixtures("unchanged")
def test_a_connection_for_python_has_the_same_locks(place):
    connection = open_views(place["table"])
    for sql in ("FROM read_text('{file}')", "COPY clips TO '{new}'", "FROM secret_variable"):
        with pytest.raises(duckdb.Error):
            connection.execute(sql.format(**place))


def test_sql_sees_no_variables_of_python_even_where_files_are_allowed(place):
    connection = open_views(place["table"], allow_files=True)
    with pytest.raises(duckdb.CatalogException, match="secret_variable does not exist"):
        connection.execute("FROM secret_variable")


def test_a_query_changes_no_byte_of_its_table(place, capsys):
    before = contents(place["table"])
    sql = "SELECT count(*) FROM windows, clips, runs, specs"
    assert main(["query", "--table", place["table"], sql]) == 0
    assert contents(place["table"]) == before


def test_files_are_read_and_written_when_that_is_allowed(place, tmp_path, capsys):
    sql = f"COPY (FROM '{place['csv']}') TO '{tmp_path}/copy.csv'; FROM '{tmp_path}/copy.csv'"
    assert main(["query", "--table", place["table"], "--allow-files", "--json", sql]) == 0
    assert SECRET in capsys.readouterr().out
    (tmp_path / "copy.csv").unlink()
    own = f"COPY (SELECT 1) TO '{place['ours']}' (USE_TMP_FILE false)"
    assert main(["query", "--table", place["table"], "--allow-files", own]) == 2  # not so
    assert "only read" in capsys.readouterr().err
