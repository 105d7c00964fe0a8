"""A worker that computes other numbers than the reference: the run stops, and none of its rows stay."""

import base64
import json

import numpy as np
import pytest

from launch.main import main
from tests.corpus import FLAGS, snapshot, write_files

EDGE = ("--model", "edgel3-sea-64", "--hop", "0.5")


def embed(corpus, table, *flags):
    return main(["embed", "--input", str(corpus), "--output", str(table), *flags])


def reference(table):
    (path,) = (table / "_l3flow/reference").iterdir()
    return path


def tamper(table, *, factor):
    kept = json.loads(reference(table).read_text())
    vectors = np.frombuffer(base64.b64decode(kept["vectors"]), "<f4") * np.float32(factor)
    kept["vectors"] = base64.b64encode(vectors.tobytes()).decode()
    reference(table).write_text(json.dumps(kept))


def test_the_receipt_has_the_largest_deviation(tmp_path, capsys):
    corpus, table = write_files(tmp_path / "corpus", 2), tmp_path / "table"
    assert embed(corpus, table, *EDGE, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["deviation"]["measure"] == "relative_l2"
    assert 0 < record["deviation"]["value"] < record["deviation"]["limit"] == 1e-4
    assert record["shards_by_device"] == {"CPU": 2}
    write_files(corpus, 1, first=2)
    tamper(table, factor=1 + 5e-5)
    assert embed(corpus, table, *EDGE, "--json") == 0
    second = json.loads(capsys.readouterr().out)
    assert second["deviation"]["value"] == pytest.approx(5e-5, rel=0.2)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_run_that_differs_fails_in_one_line_and_the_table_is_as_it_was(tmp_path, capsys, workers):
    corpus, table = write_files(tmp_path / "corpus", 3), tmp_path / "table"
    assert embed(corpus, table, *EDGE, "--quiet") == 0
    before = snapshot(table)
    write_files(corpus, 3, first=3)
    good = reference(table).read_bytes()
    tamper(table, factor=1.001)
    capsys.readouterr()
    assert embed(corpus, table, *EDGE, "--quiet", "--workers", workers) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "the table is as it was: worker " in err
    assert "with CPU computes other numbers than the reference: relative l2 0.001, allowed 0.0001" in err
    assert snapshot(table) == before
    assert not list(table.glob("_l3flow/staging/*/done/*"))
    reference(table).write_bytes(good)
    assert embed(corpus, table, *EDGE, "--quiet") == 0


def test_nothing_to_do_needs_no_check(tmp_path):
    corpus, table = write_files(tmp_path / "corpus", 1), tmp_path / "table"
    assert embed(corpus, table, *FLAGS, "--quiet") == 0
    tamper(table, factor=2)
    assert embed(corpus, table, *FLAGS, "--quiet") == 0
    write_files(corpus, 1, first=1)
    assert embed(corpus, table, *FLAGS, "--quiet") == 1


def test_a_reference_that_is_damaged_is_told(tmp_path, capsys):
    corpus, table = write_files(tmp_path / "corpus", 1), tmp_path / "table"
    assert embed(corpus, table, *FLAGS, "--quiet") == 0
    reference(table).write_text("{}")
    write_files(corpus, 1, first=1)
    assert embed(corpus, table, *FLAGS, "--quiet") == 1
    assert "remove it, and the next run makes it again" in capsys.readouterr().err
    reference(table).unlink()
    assert embed(corpus, table, *FLAGS, "--quiet") == 0
    assert reference(table).is_file()
