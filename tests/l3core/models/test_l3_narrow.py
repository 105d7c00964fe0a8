"""`l3-narrow`: what it has of `l3`, and weights of one's own."""

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from l3core import Embedder, EmbeddingSpec
from l3core.errors import SpecError, WeightsError
from l3core.models import MODELS
from l3core.weights import load_weights, to_h5
from launch.main import main

SPEC = EmbeddingSpec(model="l3-narrow", weights="random:0", hop_s=0.5, grid="nocenter")
SOUND = np.random.default_rng(0).uniform(-0.5, 0.5, 72_000)


def test_its_choices_are_those_of_l3():
    narrow, whole = MODELS["l3-narrow"], MODELS["l3"]
    assert narrow.trunk.filters == tuple(width // 8 for width in whole.trunk.filters)
    assert set(whole.choices) - set(narrow.choices) == {"content"}
    assert {name: narrow.choices[name] for name in ("input_repr", "grid", "frontend")} == {
        name: whole.choices[name] for name in ("input_repr", "grid", "frontend")
    }
    assert EmbeddingSpec(model="l3-narrow").embedding_size == 768
    with pytest.raises(SpecError, match="content: model l3-narrow has no such choice"):
        EmbeddingSpec(model="l3-narrow", content="music")


@pytest.mark.parametrize(
    ("input_repr", "size"), [(r, s) for r in ("linear", "mel128", "mel256") for s in (768, 64)]
)
def test_its_embeddings_have_the_sizes_that_it_says(input_repr, size):
    spec = replace(SPEC, input_repr=input_repr, embedding_size=size)
    found = Embedder(spec).embed(SOUND, 48_000).vectors
    assert found.shape == (2, size)
    assert np.isfinite(found).all()
    assert found.min() < 0  # linear, as those of l3


@pytest.mark.parametrize("grid", ["nocenter", "dense"])
def test_openvino_computes_what_tensorflow_does(grid):
    pytest.importorskip("openvino")
    spec = replace(SPEC, grid=grid, embedding_size=64)
    expected = Embedder(spec).embed(SOUND, 48_000).vectors
    found = Embedder(replace(spec, engine="openvino")).embed(SOUND, 48_000).vectors
    assert np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected)


def test_nobody_publishes_its_weights():
    assert MODELS["l3-narrow"].weight_files() == {}
    with pytest.raises(WeightsError, match="nobody publishes weights of model l3-narrow: --weights"):
        load_weights(EmbeddingSpec(model="l3-narrow"))


def test_embed_takes_a_file(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "a.wav", SOUND, 48_000, subtype="FLOAT")
    weights = load_weights(SPEC)
    file = tmp_path / "mine.h5"
    file.write_bytes(to_h5(weights, MODELS["l3-narrow"].layer_shapes(SPEC)))
    argv = ["embed", "--input", str(tmp_path / "in" / "*.wav"), "--output", str(tmp_path / "table")]
    argv += ["--model", "l3-narrow", "--hop", "0.5", "--grid", "nocenter", "--quiet"]
    assert main(argv) == 2
    assert "nobody publishes weights of model l3-narrow: --weights needs" in capsys.readouterr().err
    assert main([*argv, "--weights", str(file)]) == 0
    (table,) = (tmp_path / "table" / "windows").rglob("*.parquet")
    found = np.array(pq.read_table(table)["embedding"].to_pylist())
    np.testing.assert_allclose(found, Embedder(SPEC).embed(SOUND, 48_000).vectors, atol=1e-5)
