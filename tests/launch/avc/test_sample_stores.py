"""`l3flow avc sample` from a bucket into a bucket, and what is in it when the next run comes."""

import fsspec
import pytest

from l3core import storage
from l3core.avc.corpus import open_corpus
from l3core.avc.ledger import read_ledger
from launch.main import main
from tests.corpus import upload
from tests.pair_corpus import ledger_of, pairs_in, write_videos

SUBSET = "ytid,start_s,end_s,labels,split\n" + "".join(
    f"0{number},0,1,Music,train\n" for number in range(4)
)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = write_videos(tmp_path_factory.mktemp("stores") / "videos", 3)
    (folder / "03.mp4").write_bytes((folder / "01.mp4").read_bytes())
    return folder


@pytest.mark.parametrize("store", ["gcs", "s3"])
def test_from_a_bucket_into_a_bucket(request, videos, store, capsys):
    bucket = request.getfixturevalue(store).make_bucket("pairs")
    upload(videos, f"{bucket}/videos")
    storage.write_bytes(f"{bucket}/subset.csv", SUBSET.encode())
    command = ["avc", "sample", "--input", f"{bucket}/videos", "--output", f"{bucket}/corpus"]
    command += ["--subset", f"{bucket}/subset.csv", "--per-video", "4"]
    assert main([*command, "--quiet"]) == 0
    corpus = open_corpus(f"{bucket}/corpus")
    rows = ledger_of(corpus)
    assert [rows[f"0{number}.mp4"][0] for number in range(4)] == ["ok", "ok", "ok", "duplicate"]
    assert rows["03.mp4"] == ("duplicate", "train", False)
    assert len(pairs_in(corpus)) == 12
    assert read_ledger(corpus)["03.mp4"].checksum is not None  # the store's own
    assert main(command) == 0
    assert "nothing to do" in capsys.readouterr().out
    fs, path = fsspec.core.url_to_fs(f"{bucket}/videos/00.mp4", use_listings_cache=False)
    fs.rm(path)
    assert main([*command, "--prune", "--quiet"]) == 0
    after = open_corpus(f"{bucket}/corpus")
    assert {pair.image_video for pair in pairs_in(after)} == {"01.mp4", "02.mp4"}
    fs, path = fsspec.core.url_to_fs(f"{bucket}/corpus", use_listings_cache=False)
    left = {name.removeprefix(path + "/") for name in fs.find(path)}
    runs = {f"runs/0000000{number}.json" for number in (1, 2)}
    # what was replaced stays for who reads it, until the next run that commits
    named = {file.path for each in (corpus, after) for file in each.files}
    assert left == {"avc.json", corpus.ledger, after.ledger, *named, *runs}
