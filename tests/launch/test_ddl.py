"""Statements for warehouses: parsed by sqlglot; what runs here is executed in tests/contract."""

import json
import re
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from l3core.errors import UsageError
from launch.dialects import DIALECTS, Source, statements
from launch.main import main
from tests.corpus import PlainRun, write_files

AT = {"bigquery": "gs", "snowflake": "s3", "athena": "s3", "clickhouse": "gs"}
PARTITION = "WITH PARTITION COLUMNS (`spec` STRING)\n"
SPEC = "s0123456789abcdef"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ddl")
    PlainRun(write_files(folder / "corpus", 2), folder / "table", "r1").all()
    return str(folder / "table")


def ddl(capsys, *argv, code=0):
    assert main(["ddl", *argv]) == code
    captured = capsys.readouterr()
    return captured.out if code == 0 else captured.err


def written(to, place=None, **fields):
    source = {"spec": SPEC, "size": 512, "name": "l3flow", "integration": "mine"} | fields
    return statements(to, Source(place=place or f"{AT[to]}://bucket/some table", **source))


def parsed(to, text):
    """Each statement, understood: not passed through as words that the parser does not know."""
    if to == "bigquery":  # sqlglot does not know this clause
        text = [one.replace(PARTITION, "") for one in text]
    found = [sqlglot.parse_one(one, read=to) for one in text]
    assert not [one for one in found if isinstance(one, exp.Command)]
    return found


def columns_of(create, to):
    return {
        d.name: d.args["kind"].sql(to) for d in create.this.expressions if isinstance(d, exp.ColumnDef)
    }


@pytest.mark.parametrize("to", DIALECTS)
def test_a_parser_of_the_dialect_understands_it(to):
    found = parsed(to, written(to))
    made = {
        one.this.sql(to).split("(")[0].strip(' "`').lower()
        for one in found
        if isinstance(one, exp.Create)
    }
    names = {re.sub(r'[`"]', "", name).split(" ")[0] for name in made}
    assert {"l3flow", "l3flow.windows", "l3flow.clips"} <= names


def test_bigquery_infers_lists_and_takes_the_spec_from_the_path():
    schema, windows, clips = parsed("bigquery", written("bigquery"))
    assert schema.args["kind"] == "SCHEMA"
    assert [PARTITION in one for one in written("bigquery")] == [False, True, True]
    for create, part in ((windows, "windows"), (clips, "clips")):
        text = create.sql("bigquery")
        assert "EXTERNAL TABLE" in text
        assert "enable_list_inference=TRUE" in text
        assert f"uris=['gs://bucket/some table/{part}/spec={SPEC}/*.parquet']" in text
        assert f"hive_partition_uri_prefix='gs://bucket/some table/{part}'" in text


def test_athena_knows_the_columns_and_the_partition():
    windows, clips = (one for one in parsed("athena", written("athena")) if one.args.get("properties"))
    assert columns_of(windows, "hive") == {
        "clip_id": "STRING",
        "window": "INT",
        "start_s": "DOUBLE",
        "silent": "BOOLEAN",
        "embedding": "ARRAY<FLOAT>",
    }
    text = clips.sql("athena")
    assert "LOCATION 's3://bucket/some table/clips/'" in text
    assert f"'projection.spec.values'='{SPEC}'" in text.replace(" = ", "=")
    assert columns_of(clips, "hive")["embedded_at"] == "TIMESTAMP"
    assert columns_of(clips, "hive")["files"] == "ARRAY<STRING>"


def test_what_an_older_print_made_is_replaced():
    statements_of_athena = written("athena")
    for part in ("windows", "clips"):
        drop = statements_of_athena.index(f"DROP TABLE IF EXISTS `l3flow`.`{part}`")
        assert statements_of_athena[drop + 1].startswith(f"CREATE EXTERNAL TABLE `l3flow`.`{part}` (")
    assert written("snowflake")[1].startswith("CREATE OR REPLACE STAGE ")


@pytest.mark.parametrize("odd", "%#")
@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_what_means_something_else_in_an_address_is_no_place_for_clickhouse(scheme, odd):
    with pytest.raises(UsageError, match=f"cannot read a place with '{odd}' in its name"):
        written("clickhouse", f"{scheme}://b/a{odd}41")
    assert f"file('/a{odd}41/" in written("clickhouse", f"/a{odd}41")[1]


def test_snowflake_loads_arrays_and_casts_them_where_a_vector_may_be_so_long():
    text = written("snowflake")
    assert "URL = 's3://bucket/some table/'" in text[1]
    assert '"EMBEDDING" ARRAY' in text[2]
    assert f'\'@"L3FLOW"."TABLE_FILES"/windows/spec={SPEC}/\'' in text[3]
    assert "MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE" in text[3]
    assert "::VECTOR(FLOAT, 512)" in text[-1]
    assert "USE_VECTORIZED_SCANNER = TRUE" in text[3]
    assert not any("VECTOR(" in one for one in written("snowflake", size=6144))
    assert "URL = 'gcs://b/t/'" in written("snowflake", "gs://b/t")[1]


def test_clickhouse_reads_over_the_web():
    assert "gcs('https://storage.googleapis.com/bucket/some table/windows/" in written("clickhouse")[1]
    assert "s3('https://b.s3.amazonaws.com/t/clips/" in written("clickhouse", "s3://b/t")[2]
    assert "`embedding` Array(Float32)" in written("clickhouse")[1]
    assert "`error` Nullable(String)" in written("clickhouse")[2]


@pytest.mark.parametrize("to", DIALECTS)
def test_a_quote_in_a_name_stays_in_it(to):
    place = f"{AT[to]}://bucket/it's; DROP TABLE x -- \" `y`"
    found = written(to, place)
    assert len(parsed(to, found)) == len(written(to))
    literals = [
        text.this for one in parsed(to, found) for text in one.find_all(exp.Literal) if text.is_string
    ]
    assert any("it's; DROP TABLE x -- \" `y`" in text for text in literals)


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("--to", "oracle"), "invalid choice: 'oracle'"),
        (("--to", "bigquery"), "--to bigquery needs a table at gs://"),
        (("--to", "athena", "--at", "gs://b/t"), "--to athena needs a table at s3://, got 'gs://b/t'"),
        (("--to", "clickhouse", "--at", "/a*b"), "cannot read a place with '*' in its name"),
        (("--to", "clickhouse", "--name", "a; b"), "--name needs names of letters"),
        (("--to", "clickhouse", "--name", "a.b"), "--name: --to clickhouse needs a database, got 'a.b'"),
        (("--to", "athena", "--name", "a-b"), "needs a database of letters, digits and _, got 'a-b'"),
        (("--to", "athena", "--name", "a.b"), "needs a database of letters, digits and _, got 'a.b'"),
        (("--to", "bigquery", "--name", "a-b"), "a dataset of letters, digits and _, or pr"),
        (("--to", "snowflake", "--name", "a.b.c"), "needs a schema, or database.schema, got 'a.b.c'"),
        (("--to", "snowflake", "--at", "s3://b/t", "--integration", "'"), "--integration needs names"),
        (("--to", "clickhouse", "--spec", "s0f"), "--spec s0f is none of the specs"),
        (("--to", "clickhouse", "--output", "/dev/null"), "--output /dev/null: cannot write"),
        (("--to", "clickhouse", "--output", "{table}/table.json"), "table.json lies in the table"),
    ],
)
def test_bad_options_are_one_line(table, capsys, argv, told):
    said = ddl(capsys, "--table", table, *(each.format(table=table) for each in argv), code=2)
    assert told in said
    assert said.count("\n") == 1


def test_no_table_is_one_line(tmp_path, capsys):
    said = ddl(capsys, "--table", str(tmp_path / "none"), "--to", "clickhouse", code=2)
    assert "no table at" in said


def test_it_is_printed_or_written(table, capsys, tmp_path):
    bigquery = ("--table", table, "--to", "bigquery", "--at", "gs://b/t", "--name", "my-project.d")
    text = ddl(capsys, *bigquery)
    assert "CREATE OR REPLACE EXTERNAL TABLE `my-project`.`d`.`windows`" in text
    as_json = ddl(capsys, *bigquery, "--json")
    assert "".join(f"{one};\n\n" for one in json.loads(as_json))[:-1] == text
    file = tmp_path / "x.sql"
    assert ddl(capsys, "--table", table, "--to", "clickhouse", "--output", str(file)) == ""
    assert f"file('{table}/windows/spec=s" in file.read_text()
    assert "Array(Float32)" in file.read_text()


def test_the_page_shows_what_is_printed():
    page = (Path(__file__).parents[2] / "docs/engines.md").read_text(encoding="utf-8")
    source = Source("gs://bucket/table", "s6f9f9d1d4e6ae43d", 64, "my-project.features", "l3flow")
    shown = "".join(f"{one};\n\n" for one in statements("bigquery", source)[:2])
    assert (
        f"$ l3flow ddl --table gs://bucket/table --to bigquery --name my-project.features\n{shown}"
        in page
    )
