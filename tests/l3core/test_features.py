"""Labelled clips and the rows of a table: by URI, by the end of the path, or not at all."""

from datetime import datetime, timezone

import numpy as np
import pytest

from l3core.datasets import DatasetError, LabelledClip
from l3core.features import join_clips, load_features, refuse_missing
from l3core.table.layout import LedgerRow
from l3core.table.windows_file import writing_windows
from tests.corpus import PlainRun, expected_rows, table_rows, write_files


def clip(uri):
    return LabelledClip(uri, "dog", 1, "s")


def row(uri, *, status="ok", windows=3):
    return LedgerRow(
        clip_id=uri.removeprefix("/table-root/"),
        uri=uri,
        size_bytes=1,
        version="1",
        status=status,
        windows_written=windows,
        embedded_at=datetime.now(timezone.utc),
    )


def test_clips_are_found_by_their_uri_first():
    rows = [row("/table-root/a/x.wav"), row("/table-root/b/x.wav")]
    assert join_clips([clip("/table-root/b/x.wav"), clip("/table-root/a/x.wav")], rows) == [
        "b/x.wav",
        "a/x.wav",
    ]


def test_clips_that_moved_are_found_by_the_longest_end():
    """DCASE's names are the same in both sets."""
    rows = [
        row("/table-root/scenes_stereo/bus01.wav"),
        row("/table-root/scenes_stereo_testset/bus01.wav"),
        row("/table-root/scenes_stereo/tube01.wav"),
    ]
    clips = [
        clip("gs://b/dcase/scenes_stereo_testset/bus01.wav"),
        clip("gs://b/dcase/scenes_stereo/bus01.wav"),
        clip("gs://b/elsewhere/tube01.wav"),  # one name is enough where there is only one
        clip("gs://b/elsewhere/office01.wav"),
    ]
    assert join_clips(clips, rows) == [
        "scenes_stereo_testset/bus01.wav",
        "scenes_stereo/bus01.wav",
        "scenes_stereo/tube01.wav",
        None,
    ]


def test_a_name_that_several_rows_have_is_refused():
    rows = [row("/table-root/one/bus01.wav"), row("/table-root/two/bus01.wav")]
    with pytest.raises(
        DatasetError, match=r"could be /table-root/one/bus01\.wav, /table-root/two/bus01\.wav"
    ):
        join_clips([clip("/other/three/bus01.wav")], rows)


def test_a_row_that_several_clips_could_be_is_refused():
    """The training set was never embedded: its clips must not be taken for those of the test set."""
    clips = [clip("/data/scenes_stereo/bus01.wav"), clip("/data/scenes_stereo_testset/bus01.wav")]
    with pytest.raises(DatasetError, match="could both be"):
        join_clips(clips, [row("/table-root/scenes_stereo_testset/bus01.wav")])


@pytest.mark.parametrize(("status", "windows"), [("unreadable", 0), ("gone", 0), ("truncated", 0)])
def test_rows_without_windows_are_no_clips(status, windows):
    clips = [clip("/table-root/x.wav")]
    found = join_clips(clips, [row("/table-root/x.wav", status=status, windows=windows)])
    assert found == [None]
    gone = join_clips(clips, [row("/table-root/x.wav", status="gone", windows=3)])
    assert gone == ["x.wav"]  # its windows are in the table until they are pruned
    with pytest.raises(DatasetError, match=r"no windows of 1 of 1 clips: /table-root/x\.wav"):
        refuse_missing(clips, found)


def test_a_clip_that_failed_is_not_taken_for_another_of_its_name():
    rows = [
        row("/table-root/scenes_stereo/bus01.wav", status="unreadable", windows=0),
        row("/table-root/scenes_stereo_testset/bus01.wav"),
    ]
    here = [
        clip("/table-root/scenes_stereo/bus01.wav"),
        clip("/table-root/scenes_stereo_testset/bus01.wav"),
    ]
    moved = [clip(each.uri.replace("/table-root", "gs://bucket")) for each in here]
    for clips in (here, moved):
        assert join_clips(clips, rows) == [None, "scenes_stereo_testset/bus01.wav"]
        assert join_clips(clips[:1], rows) == [None]


def test_names_that_are_no_utf8_are_found():
    uri = "/table-root/b\udcff.wav"
    assert join_clips([clip(uri)], [row("/table-root/b\ue0ff.wav")]) == ["b\ue0ff.wav"]


def test_truncated_clips_have_windows():
    found = join_clips([clip("/table-root/x.wav")], [row("/table-root/x.wav", status="truncated")])
    assert found == ["x.wav"]
    refuse_missing([clip("/table-root/x.wav")], found)


def test_the_windows_of_clips_in_the_order_that_was_asked_for(tmp_path):
    run = PlainRun(write_files(tmp_path / "corpus", 4), tmp_path / "table", "run-1")
    run.all()
    features = load_features(str(tmp_path / "table"), None, ["003.wav", "000.wav"])
    assert features.clips.tolist() == [0] * 5 + [1] * 5
    expected = {}
    for clip_id, *_, vector in expected_rows(tmp_path / "corpus"):
        expected.setdefault(clip_id, []).append(np.frombuffer(vector, np.float32))
    np.testing.assert_array_equal(features.vectors, [*expected["003.wav"], *expected["000.wav"]])


def test_a_clip_without_windows_is_refused(tmp_path):
    PlainRun(write_files(tmp_path / "corpus", 1), tmp_path / "table", "run-1").all()
    with pytest.raises(DatasetError, match=r"no windows of 009\.wav"):
        load_features(str(tmp_path / "table"), None, ["000.wav", "009.wav"])


def test_vectors_that_are_no_numbers_are_refused(tmp_path):
    PlainRun(write_files(tmp_path / "corpus", 2), tmp_path / "table", "run-1").all()
    assert len(table_rows(tmp_path / "table")) == 10
    for path in (tmp_path / "table").glob("windows/*/*.parquet"):
        path.unlink()
        with writing_windows(str(path), 8) as writer:
            for name in ("000.wav", "001.wav"):
                writer.append(
                    name,
                    first_window=0,
                    start_s=np.zeros(1),
                    silent=np.zeros(1, bool),
                    vectors=np.full((1, 8), np.nan if name == "001.wav" else 1.0, np.float32),
                )
    with pytest.raises(DatasetError, match=r"1 clips hold NaN or infinity: 001\.wav"):
        load_features(str(tmp_path / "table"), None, ["000.wav", "001.wav"])
