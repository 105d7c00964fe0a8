"""What clips are coloured by: kinds of columns, their bounds, and labels from elsewhere."""

from datetime import datetime, timezone

import pytest

from l3core.errors import UsageError
from l3core.maps.columns import LONGEST, NAMES, OTHERS, column_of, ledger_columns
from l3core.maps.labels import read_labels
from l3core.table.layout import LEDGER_SCHEMA, LedgerRow, ledger_batch

WHEN = datetime(2026, 1, 1, tzinfo=timezone.utc)


def test_texts_are_names_the_most_frequent_first():
    column = column_of("codec", ["wav", None, "ogg", "ogg", "flac"])
    assert column == ("codec", "names", [2, None, 0, 0, 1], ["ogg", "flac", "wav"])


def test_few_whole_numbers_are_names_in_their_order():
    column = column_of("sample_rate", [44_100, 8_000, None, 44_100])
    assert column == ("sample_rate", "names", [1, 0, None, 1], ["8000", "44100"])


def test_many_numbers_are_a_scale():
    assert column_of("bytes", [*range(13)]).kind == "numbers"
    column = column_of("duration_s", [1.23456789, float("nan"), None, float("inf"), 2.0])
    assert column == ("duration_s", "numbers", [1.23457, None, None, None, 2], [])


def test_times_are_seconds():
    assert column_of("embedded_at", [WHEN, None]) == ("embedded_at", "times", [1_767_225_600, None], [])


def test_names_are_bounded_in_number_and_length():
    column = column_of("source", ["b", "b", *map(str, range(1_000)), "x" * 500])
    assert len(column.names) == NAMES
    assert (column.names[0], column.names[-1]) == ("b", OTHERS)
    assert max(column.values) == NAMES - 1
    assert column.values.count(NAMES - 1) == 1_002 - (NAMES - 1)  # 1,002 different names
    [long] = column_of("error", ["x" * 500]).names
    assert long == "x" * (LONGEST - 1) + "…"


def test_what_each_clip_has_of_its_own_is_there_only_if_asked_for():
    row = LedgerRow(
        clip_id="a/b.wav", uri="/a/b.wav", size_bytes=1, version="v", files=("x", "y"), embedded_at=WHEN
    )
    rows = ledger_batch([row])
    names = {column.name for column in ledger_columns(rows, None)}
    own = {"clip_id", "uri", "version", "checksum", "files"}
    assert names == {*LEDGER_SCHEMA.names, "folder"} - own
    asked = {column.name: column for column in ledger_columns(rows, "files")}
    assert asked["files"].names == ["x, y"]
    assert asked["folder"].names == ["a"]


def test_labels_of_a_csv(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text(
        'species,clip_id,year,score\nwren,"a, b.wav",2001,0.5\n,c.wav,2002,1\n', encoding="utf-8"
    )
    assert read_labels(str(file)) == {
        "species": {"a, b.wav": "wren"},
        "year": {"a, b.wav": 2001, "c.wav": 2002},
        "score": {"a, b.wav": 0.5, "c.wav": 1.0},
    }


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "needs a first line with clip_id and other columns"),
        (b"name,label\na,b\n", "needs a first line with clip_id and other columns, each once, got name"),
        (b"clip_id\na\n", "needs a first line with clip_id"),
        (b"clip_id,x,x\na,b,c\n", "each once"),
        (b"clip_id,x\na\n", "needs 2 values in each row, got 1: a"),
        (b"clip_id,x\n\xff,b\n", "no text in UTF-8"),
    ],
)
def test_what_is_no_csv_of_labels(tmp_path, content, problem):
    file = tmp_path / "labels.csv"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=problem):
        read_labels(str(file))
    with pytest.raises(UsageError, match="is not there"):
        read_labels(str(tmp_path / "none.csv"))
