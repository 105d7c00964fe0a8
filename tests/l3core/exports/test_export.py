"""Exports are read by the libraries of their formats, and follow the table."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import lance
import pyarrow as pa
import pytest
import yaml
from deltalake import DeltaTable
from pyiceberg.catalog import load_catalog
from pyiceberg.catalog.sql import SqlCatalog

from l3core.exports import formats
from l3core.table.limits import Limits
from launch.main import main
from tests.contract.comparing import compare
from tests.corpus import PlainRun, replace_file, table_rows, write_audio, write_files

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning:pyiceberg")


REPO = Path(__file__).parents[3]


class Table:
    """A table in a folder with a difficult name, and the command on it."""

    def __init__(self, folder):
        self.corpus, self.root, self.out = (
            folder / "corpus",
            folder / "my 100% table",
            folder / "it's out",
        )
        write_files(self.corpus, 3)
        write_audio(self.corpus / "a b'ä%=.wav", seed=9)
        (self.corpus / "text.wav").write_text("no samples\n" * 9)
        self.runs = 0

    def embed(self, **rules):
        self.runs += 1
        run = PlainRun(self.corpus, self.root, f"20260101T00000{self.runs}Z-0", **rules).all()
        self.spec = run.record["fingerprint"]

    def export(self, to, *argv, out=None):
        command = ["export", "--table", str(self.root), "--format", to, "--output", str(out or self.out)]
        return main([*command, *argv])

    def truth(self, part):
        files = sorted((self.root / part / f"spec={self.spec}").iterdir())
        return pa.concat_tables([pa.parquet.ParquetFile(file).read() for file in files])


def read_iceberg(out, part):
    catalog = SqlCatalog("l3flow", uri=f"sqlite:///{out}/catalog.db", warehouse=f"file://{out}")
    return catalog.load_table(f"l3flow.{part}").scan().to_arrow()


def read_delta(out, part):
    return DeltaTable(f"{out}/{part}").to_pyarrow_table()


def read_lance(out, part):
    return lance.dataset(f"{out}/{part}.lance").to_table()


READ = {"iceberg": read_iceberg, "delta": read_delta, "lance": read_lance}
VERSIONS = {
    "iceberg": lambda out: len(list((out / "windows/metadata").glob("*.metadata.json"))),
    "delta": lambda out: DeltaTable(f"{out}/windows").version(),
    "lance": lambda out: lance.dataset(f"{out}/windows.lance").version,
}


@pytest.fixture
def table(tmp_path):
    table = Table(tmp_path)
    table.embed()
    return table


def check(table, to, out=None, read=None):
    """Every value of both parts is as the table's own files have it."""
    for part in ("windows", "clips"):
        found = (read or READ[to])(out or table.out, part)
        assert compare(found, table.truth(part), {}) == ([], []), part


@pytest.mark.parametrize("to", READ)
def test_an_export_follows_the_table(to, table, capsys):
    assert table.export(to) == 0
    check(table, to)
    assert len(table_rows(table.root)) == 20  # four clips of five windows
    before = VERSIONS[to](table.out)
    capsys.readouterr()
    assert table.export(to, "--json") == 0  # nothing to do, and nothing is done
    assert [(part["added"], part["removed"]) for part in json.loads(capsys.readouterr().out)] == [
        (0, 0)
    ] * 2
    assert VERSIONS[to](table.out) == before

    write_audio(table.corpus / "new.wav", 2.0, seed=10)
    replace_file(table.corpus / "001.wav", 0.5, seed=11)
    (table.corpus / "000.wav").unlink()
    table.embed(prune=True, limits=Limits(allow_shrink=True))
    assert table.export(to) == 0
    check(table, to)
    assert "000.wav" not in set(READ[to](table.out, "windows")["clip_id"].to_pylist())
    assert VERSIONS[to](table.out) > before


def test_vectors_keep_their_length_in_lance_and_are_lists_elsewhere(table):
    kinds = {}
    for to in READ:
        assert table.export(to, out=table.out / to) == 0
        kinds[to] = str(READ[to](table.out / to, "windows").schema.field("embedding").type)
    assert kinds["lance"].startswith("fixed_size_list<")
    assert "list<" in kinds["iceberg"]
    assert "fixed" not in kinds["iceberg"] + kinds["delta"]


def test_files_that_no_commit_has_stay_out(table):
    stray = next((table.root / "windows" / f"spec={table.spec}").iterdir())
    shutil.copyfile(stray, stray.with_name("stray.parquet"))
    for to in READ:
        assert table.export(to, out=table.out / to) == 0
        assert len(READ[to](table.out / to, "windows")) == 20


@pytest.mark.parametrize("to", READ)
def test_an_export_that_was_cut_off_goes_on(to, table, monkeypatch):
    write = formats.storage.write_bytes

    def cut(uri, content):
        if b"commit" in content:  # the note of what is done
            raise KeyboardInterrupt
        write(uri, content)

    with monkeypatch.context() as patch:
        patch.setattr(formats.storage, "write_bytes", cut)
        assert table.export(to) == 130
    assert json.loads((table.out / "l3flow.json").read_text())["files"] == {}
    assert table.export("lance" if to == "delta" else "delta") == 2
    assert table.export(to) == 0
    check(table, to)


def test_iceberg_registers_files_where_they_lie(table):
    assert table.export("iceberg") == 0
    assert list(table.out.rglob("*.parquet")) == []


def test_a_catalog_of_ones_own(table, tmp_path):
    of_mine = {"type": "sql", "uri": f"sqlite:///{tmp_path}/mine.db"}
    (tmp_path / ".pyiceberg.yaml").write_text(yaml.dump({"catalog": {"mine": of_mine}}))
    argv = ["--table", str(table.root), "--format", "iceberg", "--output", str(table.out)]
    done = subprocess.run(
        [sys.executable, "-m", "launch.main", "export", *argv, "--catalog", "mine", "--name", "audio"],
        cwd=REPO,
        env=os.environ | {"PYICEBERG_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    catalog = load_catalog("mine", **of_mine)
    check(table, "", read=lambda out, part: catalog.load_table(f"audio.{part}").scan().to_arrow())
    assert not (table.out / "catalog.db").exists()


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("--format", "hudi"), "invalid choice: 'hudi'"),
        (("--format", "iceberg", "--spec", "s0x"), "--spec s0x is none of the specs"),
        (("--format", "delta", "--catalog", "a"), "--catalog is for --format iceberg"),
        (("--format", "iceberg", "--name", "a b"), "--name needs a name"),
        (("--format", "iceberg", "--output", "{table}/exported"), "lies in the table"),
        (("--format", "delta", "--output", "{out}-link/exported"), "lies in the table"),
        (("--format", "delta", "--output", "{corpus}"), "has other things in it"),
        (("--format", "iceberg", "--output", "memory://x"), "needs a catalog"),
        (("--format", "iceberg", "--catalog", "nosuch"), "--catalog nosuch: "),
        (("--format", "iceberg", "--output", "{out}#1"), "cannot read a place with ? or #"),
        (("--format", "iceberg", "--output", "https://x/y"), "--output"),
    ],
)
def test_bad_options_are_one_line(argv, told, table, capsys):
    table.out.with_name(f"{table.out.name}-link").symlink_to(table.root)
    named = [text.format(table=table.root, corpus=table.corpus, out=table.out) for text in argv]
    output = [] if "--output" in argv else ["--output", str(table.out)]
    assert main(["export", "--table", str(table.root), *output, *named]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("to", "harm"),
    [*itertools.product(READ, ("cut", "missing")), ("lance", "scratched")],  # the others read no pages
)
@pytest.mark.parametrize("part", ["windows", "clips"])
def test_a_damaged_file_is_named(table, capsys, to, harm, part):
    file = next((table.root / part).glob("*/*.parquet"))
    content = file.read_bytes()
    if harm == "missing":
        file.unlink()
    else:
        file.write_bytes(content[:900] if harm == "cut" else content[:4] + bytes(400) + content[404:])
    assert table.export(to) == 1
    said = capsys.readouterr().err
    assert f"l3flow: {file} {'is missing' if harm == 'missing' else 'cannot be read'}" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("to", READ)
def test_a_folder_that_cannot_be_written_is_one_line(table, capsys, to):
    table.out.parent.joinpath("a file").write_text("x")
    out = table.out.parent / "a file" / "below"
    assert table.export(to, out=out) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"l3flow: {out}: cannot write there: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("text", ["garbage", "[]"])
def test_a_note_that_is_damaged_is_named(table, capsys, text):
    assert table.export("delta") == 0
    (table.out / "l3flow.json").write_text(text)
    capsys.readouterr()
    assert table.export("delta") == 2
    said = capsys.readouterr().err
    assert said.startswith(f"l3flow: {table.out}/l3flow.json is damaged, it is no JSON")
    assert said.count("\n") == 1


def test_another_export_is_not_written_over(table, capsys):
    assert table.export("lance") == 0
    assert table.export("delta") == 2
    assert (
        f"{table.out} holds the format lance, not delta: name another folder" in capsys.readouterr().err
    )


def test_what_is_missing_is_named(table, capsys, monkeypatch):
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    assert table.export("lance") == 2
    assert "pip install 'l3flow[lance]'" in capsys.readouterr().err
    assert not os.path.exists(table.out)
