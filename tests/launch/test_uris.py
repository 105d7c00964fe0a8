"""Wherever a command takes a path it takes a URI, too: the same results, the same one-line errors."""

import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
import time

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from l3core import Embedder, EmbeddingSpec, storage
from l3core.classifier import from_keras
from l3core.table.read import read_windows
from launch.main import main
from tests.corpus import FLAGS, upload, write_files
from tests.dataset_trees import ESC10, esc50_rows, write_esc50
from tests.launch.test_crossval import sound_of

RUN = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")
# What two runs into one disk do not have in common either: names of runs are in their files, too.
PASSING = {
    *(
        "committed_at",
        "started_at",
        "wall_s",
        "busy_s",
        "metrics",
        "seconds",
        "windows_per_s",
        "x_real_time",
    ),
    *("bytes", "bytes_written", "sha256"),
}


def lasting(value):
    """What of some JSON is of the work, not of the moment."""
    if isinstance(value, dict):
        return {name: lasting(each) for name, each in value.items() if name not in PASSING}
    if isinstance(value, list):
        return [lasting(each) for each in value]
    return RUN.sub("RUN", value) if isinstance(value, str) else value


def done(base, *command):
    """What a command prints; `{}` is the base in it, and in what is returned."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main([word.replace("{}", str(base)) for word in command]) == 0
    return out.getvalue().replace(str(base), "{}")


def facts(base, *command):
    """What a command prints as JSON."""
    return lasting(json.loads(done(base, *command, "--json")))


def one_line(capsys, code, *command):
    assert main(command) == code
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err


def text_of(base, name):
    return storage.read_bytes(f"{base}/{name}").decode().replace(str(base), "{}")


def rows_of(base, name):
    """Rows of a Parquet file."""
    return pq.read_table(pa.BufferReader(storage.read_bytes(f"{base}/{name}"))).to_pylist()


def windows(table):
    metadata, vectors = read_windows(table)
    return [(*row.values(), vector.tobytes()) for row, vector in zip(metadata.to_pylist(), vectors)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A table of two runs."""
    folder = tmp_path_factory.mktemp("made")
    for count in (3, 4):
        write_files(folder / "corpus", count)
        embed = ["embed", "--input", f"{folder}/corpus", "--output", f"{folder}/table", *FLAGS]
        assert main([*embed, "--quiet"]) == 0
    return folder


@pytest.mark.parametrize(
    "command",
    [
        ["runs"],
        ["specs"],
        ["verify"],
        ["repair"],
        ["compact"],
        ["reroot", "--root", "{}/corpus", "--moved"],
        ["specs", "drop", "s"],
    ],
    ids=" ".join,
)
def test_a_table_that_was_copied_into_a_bucket(made, bucket, tmp_path, command):
    shutil.copytree(made / "table", tmp_path / "table")
    upload(made / "table", f"{bucket}/table")
    for each in (command, ["verify"]):
        ours, disks = (facts(base, *each, "--table", "{}/table") for base in (bucket, tmp_path))
        assert ours == disks
    if "drop" not in command:
        assert windows(f"{bucket}/table") == windows(f"{tmp_path}/table")


def test_a_page_of_runs(made, bucket):
    upload(made / "table", f"{bucket}/table")
    pages = []
    for base in (bucket, made):
        assert done(base, "runs", "--table", "{}/table", "--plot", "{}/runs.html") == (
            "2 runs: {}/runs.html\n"
        )
        pages.append(text_of(base, "runs.html"))
    assert pages[0] == pages[1]


def test_weights_and_a_list(made, bucket, tmp_path):
    upload(made / "corpus", f"{bucket}/corpus")
    shutil.copytree(made / "corpus", tmp_path / "corpus")
    found = []
    for base in (bucket, tmp_path):
        done(base, "weights", "export", "{}/w.h5", *FLAGS[:4], "--weights", "random:7")
        names = [f"{base}/corpus/{name}" for name in ("000.wav", "002.wav", "none.wav")]
        storage.write_bytes(f"{base}/list.txt", "\n".join(names).encode())
        embed = ["embed", "--input", "@{}/list.txt", "--output", "{}/table", *FLAGS[:4]]
        record = facts(base, *embed, "--weights", "{}/w.h5")
        spec = EmbeddingSpec(model="fake", engine="fake", weights=f"{base}/w.h5")
        assert Embedder(spec).fingerprint == record["fingerprint"]
        shown = [record[name] for name in ("fingerprint", "weights", "matched", "clips", "windows")]
        found.append((storage.read_bytes(f"{base}/w.h5"), windows(f"{base}/table"), shown))
    assert found[0] == found[1]
    assert shown[1:4] == ["{}/w.h5", {"new": 2, "not there": 1}, {"ok": 2, "vanished": 1}]


def test_from_one_store_to_another(gcs, s3, made, tmp_path):
    google, amazon = gcs.make_bucket("to-another"), "s3://to-another"
    fsspec.filesystem("s3").mkdir(amazon)
    upload(made / "corpus", f"{google}/corpus")
    for source, target in ((google, amazon), (google, tmp_path), (made, google)):
        embed = ["embed", "--input", f"{source}/corpus", "--output", f"{target}/table", *FLAGS]
        assert facts(target, *embed)["clips"] == {"ok": 4}
        assert windows(f"{target}/table") == windows(f"{made}/table")


def test_several_buckets_in_one_table(bucket, made, capsys):
    other = bucket + "-too"
    fsspec.filesystem(bucket[:2]).mkdir(other[5:])
    for base in (bucket, other):
        upload(made / "corpus", f"{base}/corpus")
    table = ["--table", f"{bucket}/table", "--json"]
    embed = ["embed", "--output", f"{bucket}/table", *FLAGS, "--input", f"{bucket}/corpus"]
    record = facts(bucket, *embed, f"{other}/corpus/*.wav")
    assert (record["root"], record["clips"]) == (bucket[:5], {"ok": 8})
    ids = set(read_windows(f"{bucket}/table")[0]["clip_id"].to_pylist())
    assert ids == {f"{base[5:]}/corpus/{n:03d}.wav" for base in (bucket, other) for n in range(4)}
    assert main(["verify", *table]) == 0
    assert facts(bucket, *embed, "--root", bucket[:5])["matched"] == {"unchanged": 4}
    listed = "\n".join(f"{base}/corpus/003.wav" for base in (bucket, other))
    storage.write_bytes(f"{bucket}/list.txt", listed.encode())
    embed[2] = f"{bucket}/listed"
    record = facts(bucket, *embed[:-1], f"@{bucket}/list.txt")
    assert (record["root"], record["clips"]) == (bucket[:5], {"ok": 2})


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A tenth of ESC-10 in its layout, of noise."""
    folder = tmp_path_factory.mktemp("dataset")
    rows = esc50_rows(ESC10.classes)[::8]
    return write_esc50(
        folder, rows=rows, write=lambda path: sound_of(path, int(path.stem.split("-")[3]))
    )


def classified(base):
    """What comes of the audio below a base: from a table and a classifier to labels."""
    named = ["--dataset", "esc10", "--dataset-root", "{}/corpus", "--allow-partial"]
    found = {"dataset": facts(base, "datasets", *named)}
    done(base, "embed", "--input", "{}/corpus/audio", "--output", "{}/table", *FLAGS)
    crossval = ["crossval", *named, "--table", "{}/table", "--output", "{}/out"]
    crossval += ["--epochs", "3", "--folds", "1", "--final"]
    found["to train"] = facts(base, *crossval, "--dry-run")["folds_to_train"]
    found["summary"] = facts(base, *crossval)
    del found["summary"]["digest"]  # is of the versions of the objects, too
    found["left"] = facts(base, *crossval, "--dry-run")["folds_to_train"]
    for name in ("predictions", "splits", "trials"):
        found[name] = lasting(rows_of(base, f"out/{name}.parquet"))
    for name in found["summary"]["models"]:
        model = from_keras(storage.read_bytes(f"{base}/out/{name}"), name=name)
        found[name] = [tensor.tobytes() for tensor in model.tensors]
    assert "{}/table" in text_of(base, "out/report.html")
    classify = ["classify", "--model", "{}/out/models/final.keras", "--input", "{}/corpus/audio/1-*"]
    found["labels"] = facts(base, *classify)
    found["said"] = done(base, *classify, "--output", "{}/labels.csv")
    found["csv"] = text_of(base, "labels.csv")
    done(base, *classify, "--output", "{}/windows.parquet", "--per-window")
    found["windows"] = [
        row | {"uri": row["uri"].replace(str(base), "{}")} for row in rows_of(base, "windows.parquet")
    ]
    return found


@pytest.fixture(scope="module")
def on_disk(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("disk")
    shutil.copytree(dataset, folder / "corpus")
    return classified(folder)


def test_a_classifier_from_bucket_to_bucket(dataset, on_disk, bucket):
    upload(dataset, f"{bucket}/corpus")
    found = classified(bucket)
    assert found["to train"] == ["fold1-repeat1", "final-repeat1"]
    assert found["left"] == []
    assert found["said"] == "10 files labelled: {}/labels.csv\n"
    assert len(found["windows"]) == 5 * len(found["labels"]) == 50
    for name, value in found.items():
        assert value == on_disk[name], name


# One place of each command and flag, every other one a path that nobody looks at before.
CROSSVAL = ["crossval", "--dataset", "esc10"]
PLACES = {
    "embed --input": ["embed", "--input", "{}/a.wav", "--output", "table", *FLAGS],
    "embed --input @": ["embed", "--input", "@{}/list.txt", "--output", "table", *FLAGS],
    "embed --output": ["embed", "--input", "a.wav", "--output", "{}/table", *FLAGS],
    "embed --dry-run --output": ["embed", "--input", "a.wav", "--output", "{}/t", *FLAGS, "--dry-run"],
    "embed --weights": ["embed", "--input", "a.wav", "--output", "table", "--weights", "{}/w.h5"],
    "bench --weights": ["bench", "--weights", "{}/w.h5"],
    "weights export FILE.h5": ["weights", "export", "{}/w.h5", *FLAGS],
    "weights export --weights": ["weights", "export", "w.h5", "--weights", "{}/w.h5"],
    "datasets --dataset-root": ["datasets", "--dataset", "esc10", "--dataset-root", "{}"],
    "crossval --dataset-root": [*CROSSVAL, "--dataset-root", "{}", "--table", "t", "--output", "out"],
    "crossval --table": [*CROSSVAL, "--dataset-root", "d", "--table", "{}/t", "--output", "out"],
    "crossval --output": [*CROSSVAL, "--dataset-root", "d", "--table", "t", "--output", "{}/out"],
    "classify --model": ["classify", "--model", "{}/m.keras", "--input", "a.wav"],
    "classify --input": ["classify", "--model", "m.keras", "--input", "b.wav", "{}/*.wav"],
    "classify --output": ["classify", "--model", "m", "--input", "a", "--output", "{}/labels.csv"],
    "runs --plot": ["runs", "--table", "table", "--plot", "{}/runs.html"],
    "reroot --table": ["reroot", "--root", "r", "--table", "{}/t"],
} | {
    f"{command} --table": [command, "--table", "{}/t"]
    for command in ("runs", "specs", "verify", "repair", "compact")
}


@pytest.mark.parametrize("place", PLACES)
def test_a_place_without_credentials_is_an_error_at_once(nobody, capsys, place):
    for protocol, store in (("gs", "Google"), ("s3", "AWS")):
        command = [word.replace("{}", f"{protocol}://bucket") for word in PLACES[place]]
        start = time.monotonic()
        error = one_line(capsys, 2, *command)
        assert time.monotonic() - start < 10
        assert error.startswith(
            f"l3flow: {place.split()[-1].replace('@', '--input')} {protocol}://bucket"
        )
        assert f"{store} credentials were not found: " in error


@pytest.mark.parametrize("place", PLACES)
def test_a_place_in_no_bucket_is_an_error_at_once(bucket, capsys, place):
    wrong = bucket + "-wrong"
    error = one_line(capsys, 2, *(word.replace("{}", wrong) for word in PLACES[place]))
    assert f"there is no bucket {wrong[5:]} (see l3flow " in error


@pytest.mark.parametrize(
    "command",
    [
        ["embed", "--input", "a.wav", "--output", "table", *FLAGS],
        [*CROSSVAL, "--dataset-root", "d", "--table", "t", "--output", "out"],
        ["classify", "--model", "m.keras", "--input", "a.wav"],
    ],
    ids=lambda command: command[0],
)
def test_a_log_in_a_bucket_is_refused(capsys, command):
    error = one_line(capsys, 2, *command, "--log-file", "gs://bucket/log")
    assert "--log-file gs://bucket/log: a log is appended to, which a store cannot do" in error


@pytest.mark.parametrize("command", ["runs --table", "datasets --dataset esc10 --dataset-root"])
def test_what_a_client_logs_is_not_on_the_screen(gcs, command):
    gcs.fault("^GET", status=400)
    done = subprocess.run(
        [sys.executable, "-m", "launch.main", *command.split(), "gs://bucket/x"],
        capture_output=True,
        text=True,
    )
    gcs.clear()
    assert (done.returncode, done.stderr) == (1, "l3flow: gs://bucket/x: injected, 400\n")


def test_a_bucket_is_asked_once_for_all_that_is_named_in_it(gcs, capsys):
    bucket = gcs.make_bucket("asked-once")
    gcs.clear()
    command = ["classify", "--model", f"{bucket}/m.keras", "--output", f"{bucket}/labels.csv"]
    one_line(capsys, 2, *command, "--input", *(f"{bucket}/{n}.wav" for n in range(9)))
    assert len(gcs.requests("^GET /storage/v1/b/asked-once$")) == 1
