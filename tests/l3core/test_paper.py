"""The paper's figures: whose they are, and in what an embedding is another."""

import pytest

from l3core.paper import published
from l3core.spec import EmbeddingSpec

L3 = {"content": "music", "input_repr": "mel256"}
VGGISH = {"model": "vggish", "model_options": {"variant": "quantised"}, "hop_s": 0.1}


@pytest.mark.parametrize(
    ("fields", "percent"),
    [
        (L3, 79.82),
        (L3 | {"grid": "paper"}, 79.82),
        (VGGISH, 73.54),
        ({"model": "soundnet"}, 47.66),
        (L3 | {"content": "env"}, None),
        ({"model": "edgel3-sea-64"}, None),
    ],
)
def test_the_papers_figure_is_that_of_the_papers_embedding(fields, percent):
    found = published("esc50", EmbeddingSpec(**fields).to_dict(), complete=True)
    assert found == (percent and (pytest.approx(percent / 100), ()))


@pytest.mark.parametrize(
    ("fields", "differs"),
    [
        (L3 | {"hop_s": 1.0}, "hop 1 s"),
        (L3 | {"embedding_size": 512}, "512 numbers"),
        (L3 | {"weights": "random:0"}, "weights random:0"),
        (VGGISH | {"hop_s": 0.96}, "hop 0.96 s"),
        (VGGISH | {"model_options": {"variant": "raw-quantised"}}, "variant raw-quantised"),
        ({"model": "soundnet", "model_options": {"layer": "conv6"}}, "layer conv6"),
        ({"model": "soundnet", "model_options": {"rate": "22050"}}, "rate 22050"),
    ],
)
def test_what_differs_is_named(fields, differs):
    spec = EmbeddingSpec(**fields).to_dict()
    assert published("esc50", spec, complete=True).differs == (differs,)
    assert published("esc50", spec, complete=False).differs == (differs, "a part of the clips")
