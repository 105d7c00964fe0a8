"""`--grid dense` from the command line: exact times in the table, and a line about the hop."""

import json

import numpy as np
import pyarrow.dataset
import pytest

from l3core.embedding import Embedder
from l3core.spec import EmbeddingSpec
from launch.main import main
from tests.corpus import FLAGS, noise, write_audio

DENSE = ("--model", "edgel3-sea-64", "--grid", "dense")
SPEC = EmbeddingSpec(model="edgel3-sea-64", grid="dense")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Two clips: one of three windows, and one much shorter than a window."""
    folder = tmp_path_factory.mktemp("corpus")
    write_audio(folder / "a.wav", 1.3, seed=1)
    write_audio(folder / "b.wav", 0.1, seed=2)
    return folder


@pytest.fixture(scope="module")
def table(corpus, tmp_path_factory):
    place = tmp_path_factory.mktemp("dense") / "table"
    command = ["embed", "--input", str(corpus), "--output", str(place), "--quiet"]
    assert main([*command, *DENSE]) == 0
    return place


def test_the_table_holds_exact_times_and_the_embedders_vectors(table):
    rows = pyarrow.dataset.dataset(table / "windows", partitioning="hive").to_table().to_pydict()
    found = sorted(zip(rows["clip_id"], rows["start_s"]))
    assert found == [("a.wav", 0.0), ("a.wav", 0.16), ("a.wav", 0.32), ("b.wav", 0.0)]
    embedder = Embedder(SPEC)
    assert set(rows["spec"]) == {embedder.fingerprint}
    for clip, seconds, seed in (("a.wav", 1.3, 1), ("b.wav", 0.1, 2)):
        pcm = np.round(noise(seconds, seed=seed) * 32_768) / 32_768
        expected = embedder.embed(pcm.astype(np.float32), 8_000).vectors
        vectors = [v for name, v in zip(rows["clip_id"], rows["embedding"]) if name == clip]
        distance = np.linalg.norm(np.array(vectors) - expected, axis=1)
        assert (distance <= 1e-4 * np.linalg.norm(expected, axis=1)).all()


def test_it_verifies_and_a_second_run_has_nothing_to_do(table, corpus, capsys):
    assert main(["verify", "--table", str(table)]) == 0
    command = ["embed", "--input", str(corpus), "--output", str(table), *DENSE, "--hop", "0.19"]
    assert main(command) == 0
    said = capsys.readouterr()
    assert "nothing to do" in said.out
    assert said.err == (
        "l3flow: note: --hop 0.19: dense windows of edgel3-sea-64 are whole multiples of 0.16 s apart, "
        "the nearest is 0.16 s\n"
    )


def test_a_hop_that_there_is_says_nothing(corpus, tmp_path, capsys):
    command = ["embed", "--input", str(corpus), "--output", str(tmp_path / "table"), *DENSE]
    assert main([*command, "--hop", "0.32", "--dry-run", "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert json.loads(said.out)["windows_per_second"] > 0


def test_a_file_is_compared_with_a_dense_table(table, corpus, capsys):
    command = ["similar", "--table", str(table), "--file", str(corpus / "b.wav"), "--json"]
    assert main(command) == 0
    (query,) = json.loads(capsys.readouterr().out)["queries"]
    best = query["neighbours"][0]
    assert best["clip_id"] == "b.wav"
    assert best["similarity"] == pytest.approx(1)


def test_models_without_dense_windows_refuse_them(corpus, tmp_path, capsys):
    command = ["embed", "--input", str(corpus), "--output", str(tmp_path), *FLAGS, "--grid", "dense"]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert error.startswith("l3flow: --grid must be one of center, nocenter, paper, got 'dense' (see")
    assert error.count("\n") == 1


def test_engines_without_dense_windows_refuse_them(corpus, tmp_path, capsys):
    command = ["embed", "--input", str(corpus), "--output", str(tmp_path), *DENSE, "--engine", "fake"]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert error.startswith("l3flow: --grid dense needs engine tensorflow, openvino, got fake (see")
    assert error.count("\n") == 1
