"""Labels, folds and sources of copies in all layouts; what is not as published is told or refused."""

from collections import Counter
from pathlib import Path

import fsspec
import pytest

from l3core.datasets import DATASETS, DatasetError, read_dataset, shared_sources
from l3core.datasets.esc50 import CATEGORIES
from l3core.errors import UsageError
from tests.dataset_trees import (
    ESC50_HEADER,
    as_csv,
    dcase2013_names,
    esc50_rows,
    touch,
    urbansound8k_rows,
    write_dcase2013,
    write_esc50,
    write_urbansound8k,
)
from tests.golden import shared_file

REPOSITORY = Path(__file__).parents[3]
SMALL = {1: 30, 2: 30}


def read(name, root, **kwargs):
    return read_dataset(DATASETS[name], str(root), **kwargs)


@pytest.mark.parametrize(
    ("below", "audio", "metadata"),
    [("UrbanSound8K", "audio", "metadata"), (".", ".", "."), ("deep/er", "audio/audio", "metadata")],
)
def test_urbansound8k_in_its_layouts(tmp_path, below, audio, metadata):
    write_urbansound8k(tmp_path / below, audio=audio, metadata=metadata)
    copy = read("urbansound8k", tmp_path)
    assert copy.complete
    assert copy.differences == ()
    assert Counter(clip.fold for clip in copy.clips) == DATASETS["urbansound8k"].fold_sizes
    rows = {f"fold{row[5]}/{row[0]}": (row[7], row[5], str(row[1])) for row in urbansound8k_rows()}
    for clip in copy.clips:
        assert clip[1:] == rows["/".join(clip.uri.split("/")[-2:])]
    assert all(Path(clip.uri).is_file() for clip in copy.clips[::100])


@pytest.mark.parametrize(("extension", "audio"), [(None, "audio"), ("ogg", "audio"), (None, "a/a")])
def test_esc50_in_its_layouts(tmp_path, extension, audio):
    write_esc50(tmp_path / "ESC-50-master", extension=extension, audio=audio)
    copy = read("esc50", tmp_path)
    assert copy.complete
    assert copy.differences == ()
    assert len({clip.label for clip in copy.clips}) == 50
    ten = read("esc10", tmp_path)  # no word of the other forty classes
    assert ten.complete
    assert ten.differences == ()
    assert {clip.label for clip in ten.clips} == set(DATASETS["esc10"].classes)
    assert set(ten.clips) < set(copy.clips)


def test_a_folder_of_other_rates_beside_the_clips_is_left_alone(tmp_path):
    """As in a copy that is much used: audio/*.wav, and again as audio/16000/*.wav."""
    write_esc50(tmp_path)
    for row in esc50_rows():
        touch(tmp_path / "audio/16000" / row[0])
    assert all("16000" not in clip.uri for clip in read("esc50", tmp_path).clips)


@pytest.mark.parametrize(
    "folders",
    [
        None,
        {"train": "fold1", "test": "fold2"},
        {"train": "scenes_stereo/scenes_stereo", "test": "scenes_stereo_testset/scenes_stereo"},
    ],
)
def test_dcase2013_keeps_files_of_the_same_name_apart(tmp_path, folders):
    write_dcase2013(tmp_path, folders=folders)
    copy = read("dcase2013", tmp_path)
    assert copy.complete
    assert copy.differences == ()
    assert Counter(clip.fold for clip in copy.clips) == {1: 100, 2: 100}
    labels = {Path(clip.uri).name: clip.label for clip in copy.clips}
    assert labels["bus02.wav"] == "bus"
    assert labels["busystreet02.wav"] == "busystreet"
    assert labels["tubestation20.wav"] == "tubestation"
    assert shared_sources(copy.clips) == {}  # a clip is its own source


def test_the_challenges_own_folds(tmp_path):
    write_dcase2013(tmp_path, key=True)
    copy = read("dcase2013-challenge", tmp_path)
    assert copy.complete
    assert all("testset" in clip.uri for clip in copy.clips)
    folds = {Path(clip.uri).name: clip.fold for clip in copy.clips}
    assert [folds[name] for name in dcase2013_names()[:7]] == [1, 2, 3, 4, 5, 1, 2]


def test_a_key_that_names_no_fold_is_refused(tmp_path):
    write_dcase2013(tmp_path, key=True)
    key = tmp_path / "dcase2013_task1_filenamekey.csv"
    key.write_text(key.read_text().replace("fold3_002", "fold7_002"))
    with pytest.raises(DatasetError, match="row 4 names no fold"):
        read("dcase2013-challenge", tmp_path)


def test_the_real_corpus():
    copy = read("esc10", shared_file("data/esc10/meta/esc50.csv").parents[1])
    assert copy.complete
    assert copy.differences == ()
    assert copy.subset is None
    assert len({clip.source for clip in copy.clips}) == 304
    assert shared_sources(copy.clips) == {}


def test_the_demos_clips_are_known_by_name():
    copy = read("esc10", REPOSITORY / "examples/data")
    assert len(copy.clips) == 100
    assert not copy.complete
    assert copy.subset == "the 100 clips of l3flow's demo"
    assert copy.differences == ()


def test_a_partial_copy_is_refused_and_told(tmp_path):
    write_esc50(tmp_path)
    for row in esc50_rows()[:5]:
        (tmp_path / "audio" / row[0]).unlink()
    with pytest.raises(
        DatasetError, match=r"1995 of 2000 clips.*5 missing: 1-1000-A-0.* and 2 more.*allow"
    ):
        read("esc50", tmp_path)
    copy = read("esc50", tmp_path, allow_partial=True)
    assert len(copy.clips) == 1995
    assert copy.differences == ("5 missing: 1-1000-A-0, 1-1000-B-0, 1-1001-A-0 and 2 more",)


def test_rows_that_are_missing_are_told_by_fold_and_class(tmp_path):
    write_urbansound8k(tmp_path, rows=urbansound8k_rows(SMALL))
    with pytest.raises(DatasetError, match="fold 1 has 30 clips, published are 873"):
        read("urbansound8k", tmp_path)
    copy = read("urbansound8k", tmp_path, allow_partial=True)
    assert len(copy.clips) == 60
    sirens = sum(row[7] == "siren" for row in urbansound8k_rows(SMALL))
    said = f"UrbanSound8K.csv: class siren has {sirens} clips, published are 929"
    assert said in copy.differences


def test_extra_files_are_told_and_no_hindrance(tmp_path):
    write_esc50(tmp_path)
    touch(tmp_path / "audio/5-1-Z-3.wav")
    touch(tmp_path / "audio/notes.txt")
    touch(tmp_path / "audio/.DS_Store")
    touch(tmp_path / "audio/._1-1000-A-0.wav")
    copy = read("esc50", tmp_path)
    assert copy.complete
    assert copy.differences == ("1 extra: 5-1-Z-3",)


@pytest.mark.parametrize(
    ("column", "value"),
    [(1, 3), (2, 7), (3, "cat"), (3, "purring"), (4, "no"), (5, "9"), (0, "a.wav")],
)
def test_an_altered_csv_is_refused(tmp_path, column, value):
    rows = [list(row) for row in esc50_rows()]
    rows[0][column] = value
    write_esc50(tmp_path, rows=rows)
    with pytest.raises(DatasetError, match="altered: 1 of 2000 rows contradict their file's name"):
        read("esc50", tmp_path, allow_partial=True)


@pytest.mark.parametrize(("column", "value"), [(1, 5), (5, 11), (6, 3), (7, "siren"), (0, "x.wav")])
def test_an_altered_urbansound_csv_is_refused(tmp_path, column, value):
    rows = [list(row) for row in urbansound8k_rows(SMALL)]
    rows[0][column] = value
    write_urbansound8k(tmp_path, rows=rows)
    with pytest.raises(DatasetError, match="altered: 1 of 60 rows"):
        read("urbansound8k", tmp_path, allow_partial=True)


def test_a_clip_that_is_listed_twice_is_refused(tmp_path):
    rows = esc50_rows()
    write_esc50(tmp_path, rows=[*rows, rows[0]])
    with pytest.raises(DatasetError, match="lists 1 clips twice: 1-1000-A-0"):
        read("esc50", tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "filename,fold\n",
            "lacks the columns target, category, esc10, src_file; it has filename, fold",
        ),
        ("", "lacks the columns filename"),
        ('filename,fold,target,category,esc10,src_file\n"' + 200_000 * "x", "is no csv: field larger"),
        ("filename,fold,target,category,esc10,src_file\n1-1-A-0.wav,1", "breaks off in row 2"),
    ],
)
def test_a_csv_that_is_none_is_refused(tmp_path, text, said):
    write_esc50(tmp_path)
    (tmp_path / "meta/esc50.csv").write_text(text)
    with pytest.raises(DatasetError, match=said):
        read("esc50", tmp_path)


def test_a_csv_of_windows_and_with_spaces_is_read(tmp_path):
    write_esc50(tmp_path)
    path = tmp_path / "meta/esc50.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b",", b", ").replace(b"\n", b"\r\n"))
    assert read("esc50", tmp_path).complete


@pytest.mark.parametrize("end", [b"\r", b"\n\n"])
def test_line_ends_do_not_matter(tmp_path, end):
    write_esc50(tmp_path)
    path = tmp_path / "meta/esc50.csv"
    path.write_bytes(path.read_bytes().replace(b"\n", end))
    assert read("esc50", tmp_path).complete


def test_metadata_without_audio_is_no_copy(tmp_path):
    write_esc50(tmp_path, write=lambda path: None)
    with pytest.raises(DatasetError, match=r"no clip of ESC-50 below .*; get it: https://"):
        read("esc50", tmp_path, allow_partial=True)


def test_clips_in_other_folds_than_published_are_refused(tmp_path):
    """Names of UrbanSound8K do not tell the fold: only its size does."""
    rows = [list(row) for row in urbansound8k_rows()]
    rows[0][5] = 10
    write_urbansound8k(tmp_path, rows=rows)
    with pytest.raises(
        DatasetError, match=r"8732 of 8732 clips.*fold 1 has 872 clips, published are 873"
    ):
        read("urbansound8k", tmp_path)
    assert not read("urbansound8k", tmp_path, allow_partial=True).complete


def test_of_two_formats_in_one_folder_the_wav_is_taken(tmp_path):
    write_esc50(tmp_path)
    for row in esc50_rows():
        touch((tmp_path / "audio" / row[0]).with_suffix(".ogg"))
    copy = read("esc50", tmp_path)
    assert copy.complete
    assert all(clip.uri.endswith(".wav") for clip in copy.clips)


def test_a_csv_in_another_encoding_is_refused(tmp_path):
    write_esc50(tmp_path)
    (tmp_path / "meta/esc50.csv").write_bytes("filename,ümlaut".encode("utf-16"))
    with pytest.raises(DatasetError, match="is no text"):
        read("esc50", tmp_path)


def test_two_copies_below_one_root_are_refused(tmp_path):
    write_esc50(tmp_path / "one")
    write_esc50(tmp_path / "two")
    with pytest.raises(DatasetError, match=r"is there twice, one/meta/esc50\.csv and two/"):
        read("esc50", tmp_path)


@pytest.mark.parametrize("name", ["urbansound8k", "esc50", "dcase2013", "dcase2013-challenge"])
def test_nothing_there_says_how_to_get_it(tmp_path, name):
    with pytest.raises(DatasetError, match="https://"):
        read(name, tmp_path)


def test_no_folder_is_said(tmp_path):
    with pytest.raises(UsageError, match="is no folder"):
        read("esc50", tmp_path / "nowhere")


def test_any_store_will_do():
    store = fsspec.filesystem("memory")
    for row in esc50_rows():
        store.pipe_file(f"/corpora/ESC-50/audio/{row[0]}", b"")
    store.pipe_file("/corpora/ESC-50/meta/esc50.csv", as_csv(ESC50_HEADER, esc50_rows()).encode())
    copy = read("esc50", "memory://corpora/ESC-50")
    assert copy.complete
    assert copy.clips[0].uri.startswith("memory://")
    assert store.exists(copy.clips[0].uri)
    store.rm("/corpora", recursive=True)


def test_sources_that_folds_share_are_found(tmp_path):
    rows = urbansound8k_rows(SMALL)
    name, source, *rest = rows[0]
    rows[0] = (name.replace(str(source), "77751"), 77751, *rest)
    name, source, *rest = rows[-1]
    rows[-1] = (name.replace(str(source), "77751"), 77751, *rest)
    write_urbansound8k(tmp_path, rows=rows)
    copy = read("urbansound8k", tmp_path, allow_partial=True)
    assert shared_sources(copy.clips) == {"77751": (1, 2)}


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)
def test_the_catalogue_adds_up(dataset):
    """Numbers that are known from elsewhere: the datasets' own pages."""
    published = {"urbansound8k": 8732, "esc50": 2000, "esc10": 400, "dcase2013": 200}
    assert dataset.clips == published.get(dataset.name, 100)
    assert sum(dataset.class_sizes.values()) == dataset.clips
    assert set(dataset.class_sizes) == set(dataset.classes)
    assert len(set(dataset.classes)) == len(dataset.classes)
    assert set(dataset.test_folds) <= set(dataset.fold_sizes)


def test_the_numbers_of_esc50s_targets():
    """From facts about ESC-10 in the dataset's own table."""
    ten = {0: "dog", 1: "rooster", 10: "rain", 11: "sea_waves", 12: "crackling_fire", 20: "crying_baby"}
    ten |= {21: "sneezing", 38: "clock_tick", 40: "helicopter", 41: "chainsaw"}
    assert {CATEGORIES.index(name) for name in DATASETS["esc10"].classes} == set(ten)
    assert all(CATEGORIES[number] == name for number, name in ten.items())
