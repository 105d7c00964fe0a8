"""Specs: defaults, refusals in the user's words, and fingerprints that never change by accident."""

import json
import re
from collections.abc import Mapping

import numpy as np
import pytest

from l3core import EmbeddingSpec
from l3core.errors import SpecError, UsageError
from l3core.models import MODELS
from l3core.weights import Weights, load_weights, to_h5
from l3core.windows import WindowGrid
from tests.fake_model import FakeModel

DIGEST = "0" * 64


def test_defaults_are_openl3s():
    spec = EmbeddingSpec()
    assert spec.to_dict() == {
        "model": "l3",
        "input_repr": "mel256",
        "content": "music",
        "embedding_size": 6144,
        "hop_s": 0.1,
        "grid": "center",
        "frontend": "openl3",
        "weights": "published",
        "precision": "float32",
        "resampler": "soxr_hq",
        "engine": "tensorflow",
        "model_options": {},
    }
    assert spec.size == 6144
    assert spec.window_grid == WindowGrid(kind="center", window_samples=48_000, hop_samples=4_800)


def test_a_model_fills_in_its_own_defaults():
    spec = EmbeddingSpec(model="edgel3-sea-64")
    assert (spec.input_repr, spec.content, spec.frontend) == (None, None, None)
    assert (spec.embedding_size, spec.size, spec.grid, spec.hop_s) == (64, 64, "center", 0.1)
    assert spec.window_grid == WindowGrid(kind="center", window_samples=8_000, hop_samples=800)


def test_naming_the_defaults_changes_nothing():
    assert EmbeddingSpec(input_repr="mel256", hop_s=0.1, grid="center") == EmbeddingSpec()
    assert EmbeddingSpec(hop_s=1) == EmbeddingSpec(hop_s=1.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "edgel3"}, "got 'edgel3' (did you mean 'edgel3-sea-64'?)"),
        ({"input_repr": "mel265"}, "mel256, mel128, linear, got 'mel265' (did you mean 'mel256'?)"),
        ({"content": "speech"}, "must be one of music, env, got 'speech'"),
        ({"embedding_size": 1024}, "must be one of 6144, 512, got 1024"),
        ({"embedding_size": True}, "got True"),
        ({"grid": "centre"}, "(did you mean 'center'?)"),
        ({"frontend": "kapre"}, "must be one of openl3, as-trained, got 'kapre'"),
        ({"precision": "bfloat16"}, "(did you mean 'mixed_bfloat16'?)"),
        ({"resampler": "soxr"}, "(did you mean 'soxr_hq'?)"),
        ({"engine": "torch"}, "must be one of tensorflow"),
        ({"hop_s": 0}, "must be a positive number of seconds, at most a day, got 0"),
        ({"hop_s": float("nan")}, "got nan"),
        ({"hop_s": float("inf")}, "got inf"),
        ({"hop_s": 1e-6}, "at least one sample at 48000 Hz, got 1e-06 s"),
        ({"hop_s": 1e305}, "1e+305"),  # overflows once it is counted in samples
        ({"hop_s": "0.1"}, "needs a number of seconds, got '0.1'"),
        ({"hop_s": True}, "needs a number of seconds, got True"),
        ({"weights": ""}, "needs 'published', a path or URI of a file, or random:SEED, got ''"),
        ({"weights": 3}, "or random:SEED, got 3"),
        ({"weights": "random:x"}, "random needs a whole number >= 0, got 'random:x'"),
        ({"weights": "random:-1"}, "got 'random:-1'"),
        ({"model_options": {"depth": "2"}}, "model l3 has no option 'depth'"),
    ],
)
def test_what_is_refused(fields, message):
    with pytest.raises(SpecError, match=re.escape(message)) as caught:
        EmbeddingSpec(**fields)
    (name,) = fields
    assert caught.value.field == name
    assert str(caught.value) == f"{name}: {caught.value.problem}"
    assert isinstance(caught.value, UsageError)


@pytest.mark.parametrize(
    "fields", [{"input_repr": "mel256"}, {"content": "music"}, {"frontend": "openl3"}]
)
def test_a_model_refuses_what_it_does_not_have(fields):
    (name,) = fields
    with pytest.raises(SpecError, match="model edgel3-sea-64 has no such choice") as caught:
        EmbeddingSpec(model="edgel3-sea-64", **fields)
    assert caught.value.field == name


def test_fingerprints_are_frozen():
    """If this fails every table out there gets a new partition: raise `algorithm_version` instead."""
    assert EmbeddingSpec().fingerprint(DIGEST) == "sa54c00b8d25128ec"
    other = EmbeddingSpec(model="edgel3-sea-64", hop_s=0.5, grid="paper")
    assert other.fingerprint(DIGEST) == "sacc1873dfed89763"


VARIANTS = [
    {"model": "edgel3-sea-64"},
    {"input_repr": "linear"},
    {"input_repr": "mel128"},
    {"content": "env"},
    {"embedding_size": 512},
    {"hop_s": 0.5},
    {"hop_s": 1},
    {"grid": "nocenter"},
    {"grid": "paper"},
    {"frontend": "as-trained"},
    {"precision": "mixed_bfloat16"},
    {"precision": "mixed_float16"},
    {"resampler": "resampy"},
]


def test_every_field_that_changes_a_value_changes_the_fingerprint():
    found = [EmbeddingSpec(**fields).fingerprint(DIGEST) for fields in [{}, *VARIANTS]]
    found.append(EmbeddingSpec().fingerprint("1" * 64))
    assert all(re.fullmatch("s[0-9a-f]{16}", fingerprint) for fingerprint in found)
    assert len(set(found)) == len(VARIANTS) + 2


def test_only_what_differs_from_the_default_is_in_the_identity():
    spec = EmbeddingSpec(grid="paper", weights="random:1")
    assert spec.identity(DIGEST)["spec"] == {"grid": "paper"}
    assert EmbeddingSpec(model="edgel3-sea-64").identity(DIGEST)["spec"] == {"model": "edgel3-sea-64"}


def test_where_the_weights_came_from_changes_nothing(tmp_path):
    bundled = EmbeddingSpec(model="edgel3-sea-64")
    weights = load_weights(bundled)
    path = tmp_path / "copy.h5"
    path.write_bytes(to_h5(weights, bundled.network.layer_shapes(bundled)))
    copied = EmbeddingSpec(model="edgel3-sea-64", weights=str(path))
    assert copied.fingerprint(load_weights(copied).digest) == bundled.fingerprint(weights.digest)
    scaled = Weights((2 * weights.tensors[0], *weights.tensors[1:]), "scaled")
    assert bundled.fingerprint(scaled.digest) != bundled.fingerprint(weights.digest)


def test_a_number_of_another_type_is_the_same_spec():
    for size in (512.0, np.int64(512)):
        spec = EmbeddingSpec(embedding_size=size)
        assert spec.fingerprint(DIGEST) == EmbeddingSpec(embedding_size=512).fingerprint(DIGEST)


@pytest.mark.parametrize("fields", [{}, *VARIANTS])
def test_a_spec_survives_json(fields):
    spec = EmbeddingSpec(**fields)
    again = EmbeddingSpec(**json.loads(json.dumps(spec.to_dict())))
    assert again == spec
    assert hash(again) == hash(spec)


class ModelWithOptions(FakeModel):
    name = "choosy"
    options: Mapping[str, tuple[str, ...]] = {
        "variant": ("raw", "relu", "pca"),
        "rate": ("native", "22050"),
    }


@pytest.fixture
def choosy(monkeypatch):
    monkeypatch.setitem(MODELS, "choosy", ModelWithOptions())
    return "choosy"


def chosen(model, **options):
    return EmbeddingSpec(model=model, weights="random:0", model_options=options)


def test_options_of_a_model_are_filled_in(choosy):
    assert chosen(choosy).model_options == {"variant": "raw", "rate": "native"}
    assert chosen(choosy, rate="22050").model_options == {"variant": "raw", "rate": "22050"}
    assert chosen(choosy, variant="raw") == chosen(choosy)
    spec = chosen(choosy, variant="pca")
    assert EmbeddingSpec(**json.loads(json.dumps(spec.to_dict()))) == spec


def test_options_at_their_default_are_not_in_the_identity(choosy):
    assert chosen(choosy, rate="native").identity(DIGEST)["spec"] == {"model": choosy}
    spec = chosen(choosy, rate="native", variant="relu")
    assert spec.identity(DIGEST)["spec"] == {"model": choosy, "model_options": {"variant": "relu"}}
    others = ({}, {"variant": "relu"}, {"rate": "22050"}, {"variant": "relu", "rate": "22050"})
    assert len({chosen(choosy, **options).fingerprint(DIGEST) for options in others}) == 4


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"varient": "raw"}, "model choosy has no option 'varient', did you mean 'variant'?"),
        ({"depth": "1"}, "model choosy has no option 'depth'"),
        (
            {"variant": "rellu"},
            "variant must be one of raw, relu, pca, got 'rellu' (did you mean 'relu'?)",
        ),
        ({"rate": ""}, "rate must be one of native, 22050, got ''"),
    ],
)
def test_options_that_a_model_does_not_have(choosy, options, problem):
    with pytest.raises(SpecError) as caught:
        chosen(choosy, **options)
    assert (caught.value.field, caught.value.problem) == ("model_options", problem)
