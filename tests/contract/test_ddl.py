"""What `l3flow ddl` prints for ClickHouse makes it read every value."""

import json

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from launch.main import main
from tests.contract.awkward import SIZES, make_table, rows_of
from tests.contract.comparing import compare
from tests.contract.measure import run_there


@pytest.mark.parametrize("size", SIZES)
def test_clickhouse_reads_every_value(size, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "it's (a) `table`"
    folder.mkdir()
    specs = make_table(folder, monkeypatch)
    spec, table = specs[size], folder / "table"
    command = ["ddl", "--table", str(table), "--to", "clickhouse", "--spec", spec, "--name", "my-own"]
    assert main([*command, "--json"]) == 0
    statements = json.loads(capsys.readouterr().out)
    run_there("clickhouse.py", json.dumps([*statements, *statements]), "my-own", tmp_path)
    for part in ("windows", "clips"):
        truth = rows_of((table / part / f"spec={spec}").iterdir())
        with pa.memory_map(str(tmp_path / f"{part}.arrow")) as file:
            read = pa.ipc.open_file(file).read_all()
            runs = spec if part == "windows" else dict.fromkeys(truth["run_id"].to_pylist(), spec)
            assert compare(read, truth, runs) == ([], [])
            assert pc.unique(read["spec"]).to_pylist() == [spec]
