"""Exported weights embed as the trained network does, and their card tells what is known."""

import numpy as np
import pytest

from l3core.errors import UsageError
from l3core.models.avc import AvcNetwork
from l3core.openl3_api import get_image_embedding, load_image_embedding_model_from_path
from l3core.training import exporting
from l3core.training.opening import open_training
from l3core.weights import read_weights
from tests.l3core.training.trainings import NARROW, trained, variables_of


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    return open_training(str(trained(folder)))


def test_the_weights_are_those_of_the_checkpoint(training):
    made = exporting.export_training(training, 320, name="gs://bucket/mine.h5")
    spec = NARROW.embedding_spec
    found = read_weights(made.audio, spec, name="mine.h5")
    assert made.digest == found.digest
    variables = training.checkpoints.weights(320)
    expected = variables["audio_embedding_layer/kernel"]
    np.testing.assert_array_equal(found.tensors[-2], expected)
    np.testing.assert_array_equal(found.tensors[2], variables["audio_batch_normalization_0/moving_mean"])
    other = exporting.export_training(training, 640, name="mine.h5")
    assert other.digest != made.digest
    assert made.vision == b""


def test_names_of_variables_are_keras():
    """Without Keras, the tensors are found that the network itself gives."""
    model = NARROW.build(seed=9)
    variables = {variable.path: variable.numpy() for variable in model.variables}
    for part, expected in (
        (NARROW.audio, NARROW.audio_tensors(model)),
        (NARROW.vision, NARROW.vision_tensors(model)),
    ):
        found = exporting.tensors_in(variables, part, where="here")
        assert len(found) == len(expected) == 48
        for tensor, of_network in zip(found, expected):
            np.testing.assert_array_equal(tensor, of_network)


def test_the_card(training):
    made = exporting.export_training(training, 320, name="gs://bucket/mine.h5")
    lines = made.card.splitlines()
    assert lines[0] == "# mine.h5"
    assert "| data | `pairs`, 1,000 pairs, digest `abc123` |" in lines
    assert "| seed | 3 |" in lines
    assert "| samples seen | 320 |" in lines
    assert "| AVC accuracy, validation | 87.50 % of 64 pairs (chance: 50 %) |" in lines
    assert f"| digest of the weights | `{made.digest}` |" in lines
    assert "- batch_size: 32" in lines
    command = (
        "l3flow embed --weights gs://bucket/mine.h5 --model l3-narrow --input-repr mel256 --frontend"
    )
    assert f"    {command} as-trained --input 'sound/*.wav' --output table" in lines
    assert "no licence" in made.card
    between = exporting.export_training(training, 640, name="mine.h5")
    assert "| AVC accuracy, validation | not measured after it |" in between.card


def test_a_control_is_called_one(training, tmp_path):
    trained(tmp_path, shuffle_labels=True)
    made = exporting.export_training(open_training(str(tmp_path)), 320, name="mine.h5")
    assert "trained on drawn labels, a control" in made.card


def test_variables_of_another_network():
    with pytest.raises(UsageError, match=r"here is of another network: audio_conv2d_1/kernel needs"):
        exporting.tensors_in(variables_of(NARROW, 0), AvcNetwork().audio, where="here")


def test_the_vision_network_embeds_images(tmp_path):
    """Of the whole network: what openl3's image functions take."""
    network = AvcNetwork()
    variables = variables_of(network, 1)
    tensors = exporting.tensors_in(variables, network.vision, where="here")
    file = tmp_path / "vision.h5"
    file.write_bytes(exporting.export_vision(tensors, network))
    model = load_image_embedding_model_from_path(str(file), 8192)
    picture = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    assert get_image_embedding(picture, model=model, verbose=False).shape == (1, 8192)
    kernel = model.get_layer("vision_embedding_layer").get_weights()[0]
    np.testing.assert_array_equal(kernel, variables["vision_embedding_layer/kernel"])
