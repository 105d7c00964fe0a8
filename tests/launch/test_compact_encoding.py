"""--compact-encoding: the same rows and spec, in files that are written otherwise; and remembered."""

import pyarrow.parquet as pq
import pytest

from l3core.table.windows_file import is_compact
from launch.main import main
from tests.corpus import FLAGS, expected_rows, replace_file, table_rows, write_audio, write_files


class Table:
    def __init__(self, folder):
        self.corpus, self.root = folder / "corpus", folder / "table"
        write_files(self.corpus, 4)

    def embed(self, *argv):
        command = ["embed", "--input", str(self.corpus), "--output", str(self.root), *FLAGS]
        assert main([*command, *argv]) == 0

    def encodings(self):
        """Whether each windows file is compact."""
        return [is_compact(pq.ParquetFile(path)) for path in self.root.glob("windows/*/*.parquet")]


@pytest.fixture
def table(tmp_path):
    return Table(tmp_path)


def test_rows_and_fingerprint_are_those_of_plain_files(table, tmp_path, capsys):
    table.embed("--compact-encoding")
    assert "vectors are BYTE_STREAM_SPLIT, which fastparquet cannot read" in capsys.readouterr().out
    assert set(table.encodings()) == {True}
    assert table_rows(table.root) == expected_rows(table.corpus)
    plain = Table(tmp_path)
    plain.root = tmp_path / "plain"
    plain.embed()
    assert "BYTE_STREAM_SPLIT" not in capsys.readouterr().out
    assert [path.name for path in plain.root.glob("windows/*")] == [
        path.name for path in table.root.glob("windows/*")
    ]
    assert main(["verify", "--table", str(table.root)]) == 0


def test_later_runs_rewrites_and_merges_keep_it(table):
    table.embed("--compact-encoding")
    write_audio(table.corpus / "new.wav", seed=9)
    replace_file(table.corpus / "001.wav", 0.5, seed=11)
    table.embed()
    assert len(table.encodings()) > 1
    assert set(table.encodings()) == {True}
    assert main(["compact", "--table", str(table.root)]) == 0
    assert table.encodings() == [True]
    assert main(["reroot", "--table", str(table.root), "--root", str(table.corpus.parent)]) == 0
    assert table.encodings() == [True]
    table.embed("--full")
    assert set(table.encodings()) == {True}


def test_it_can_be_turned_on_later_and_off_again(table):
    table.embed()
    assert set(table.encodings()) == {False}
    write_audio(table.corpus / "new.wav", seed=9)
    table.embed("--compact-encoding")
    assert set(table.encodings()) == {True, False}
    assert main(["compact", "--table", str(table.root)]) == 0
    assert table.encodings() == [True]
    table.embed("--no-compact-encoding", "--full")
    assert set(table.encodings()) == {False}
    assert table_rows(table.root) == expected_rows(table.corpus)
    write_audio(table.corpus / "newer.wav", seed=10)
    table.embed()
    assert set(table.encodings()) == {False}
