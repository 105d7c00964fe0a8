"""The paper's figures: whose they are, and in what an embedding is another."""

import pytest

from l3core.paper import published
from l3core.spec import EmbeddingSpec

L3 = {"content": "music", "input_repr": "mel256", "frontend": "as-trained"}
ENV = L3 | {"content": "env"}
VGGISH = {"model": "vggish", "model_options": {"variant": "quantised"}, "hop_s": 0.1}
SOUNDNET = {"model": "soundnet"}
TRAINING = {"protocol": "paper", "epochs": 50, "batch_size": 32}


# Table 2, and of L3 on UrbanSound8K the text: facts 2.2 of the notes
@pytest.mark.parametrize(
    ("dataset", "fields", "percent"),
    [
        ("urbansound8k", L3, 78.23),
        ("urbansound8k", ENV, 79.34),
        ("urbansound8k", VGGISH, 73.43),
        ("urbansound8k", SOUNDNET, 68.80),
        ("esc50", L3, 79.82),
        ("esc50", L3 | {"grid": "paper"}, 79.82),
        ("esc50", ENV, None),
        ("esc50", L3 | {"input_repr": "linear"}, None),
        ("esc50", VGGISH, 73.54),
        ("esc50", SOUNDNET, 47.66),
        ("dcase2013", L3, 97),
        ("dcase2013", VGGISH, 93),
        ("dcase2013", SOUNDNET, 76),
        ("esc50", {"model": "edgel3-sea-64"}, None),
        ("esc10", L3, None),
    ],
)
def test_the_papers_figure_is_that_of_the_papers_embedding(dataset, fields, percent):
    found = published(dataset, EmbeddingSpec(**fields).to_dict(), complete=True, training=TRAINING)
    assert found == (percent and (pytest.approx(percent / 100), ()))


@pytest.mark.parametrize(
    ("fields", "differs"),
    [
        (L3 | {"hop_s": 1.0}, "hop 1 s"),
        (L3 | {"embedding_size": 512}, "512 numbers"),
        (L3 | {"weights": "random:0"}, "weights random:0"),
        (L3 | {"frontend": "openl3"}, "front end openl3"),
        (L3 | {"precision": "mixed_bfloat16"}, "mixed_bfloat16"),
        (VGGISH | {"hop_s": 0.96}, "hop 0.96 s"),
        (VGGISH | {"model_options": {"variant": "raw-quantised"}}, "variant raw-quantised"),
        (SOUNDNET | {"model_options": {"layer": "conv6"}}, "layer conv6"),
        (SOUNDNET | {"model_options": {"rate": "22050"}}, "rate 22050"),
    ],
)
def test_what_differs_is_named(fields, differs):
    spec = EmbeddingSpec(**fields).to_dict()
    assert published("esc50", spec, complete=True).differs == (differs,)
    assert published("esc50", spec, complete=False).differs == (differs, "a part of the clips")


@pytest.mark.parametrize(
    ("changed", "differs"),
    [
        ({"protocol": "clean", "batch_size": 256}, "protocol clean"),
        ({"batch_size": 64}, "batches of 64"),
        ({"epochs": 1}, "1 epochs"),
    ],
)
def test_a_training_that_differs_is_named(changed, differs):
    spec = EmbeddingSpec(**L3).to_dict()
    assert published("esc50", spec, complete=True, training=TRAINING | changed).differs == (differs,)
