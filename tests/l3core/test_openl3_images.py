"""openl3's image functions: its pixels worked out by hand, its network in plain Keras, its errors."""

import keras
import numpy as np
import pytest
from PIL import Image

from l3core import openl3_api, openl3_images
from l3core.errors import FetchError, WeightsError
from l3core.keras_files import write_h5
from l3core.models.l3 import TRUNK
from l3core.models.subnetwork import vision
from l3core.openl3_api import OpenL3Error, OpenL3Warning, get_image_embedding, process_image_file
from l3core.openl3_pixels import preprocess_image
from l3core.published import cache_dir, git_blob_sha1

PICTURE = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of openl3's layout, whose normalizations all do something."""
    network, rng = vision(TRUNK.filters), np.random.default_rng(1)
    tensors = [
        tensor
        if tensor.ndim == 4
        else (tensor + rng.uniform(0.05, 0.3, tensor.shape)).astype(np.float32)
        for tensor in network.random_tensors(0, whole=False)
    ]
    path = tmp_path_factory.mktemp("weights") / "vision.h5"
    path.write_bytes(write_h5(tensors, network.layer_shapes(whole=False)))
    return path, tensors


@pytest.fixture(scope="module")
def model(weights):
    return openl3_api.load_image_embedding_model_from_path(str(weights[0]), 512)


# openl3/models.py, `_construct_image_network`: block 1 has its second ReLU before the normalization
WORDS = (
    "norm conv norm relu conv relu norm pool conv norm relu conv norm relu pool "
    "conv norm relu conv norm relu pool conv norm relu conv"
)


def plain_model(tensors, size):
    x = image = keras.Input((224, 224, 3))
    widths, kept = iter((64, 64, 128, 128, 256, 256, 512, 512)), []
    for word in WORDS.split():
        layer = {
            "norm": lambda: keras.layers.BatchNormalization(epsilon=1e-3),
            "conv": lambda: keras.layers.Conv2D(next(widths), 3, padding="same"),
            "relu": lambda: keras.layers.Activation("relu"),
            "pool": lambda: keras.layers.MaxPooling2D(2, strides=2, padding="same"),
        }[word]()
        x = layer(x)
        if word in ("norm", "conv"):
            kept.append(layer)
    x = keras.layers.MaxPooling2D({8192: 7, 512: 28}[size], padding="same")(x)
    plain = keras.Model(image, keras.layers.Flatten()(x))
    rest = iter(tensors)
    for layer in kept:
        layer.set_weights([next(rest) for _ in layer.weights])
    return plain


@pytest.mark.parametrize("size", [8192, 512])
def test_embeddings_are_those_of_openl3s_network(weights, size):
    path, tensors = weights
    model = openl3_api.load_image_embedding_model_from_path(str(path), size)
    found = get_image_embedding(PICTURE, model=model, verbose=False)
    expected = plain_model(tensors, size)(2 * (PICTURE[np.newaxis] / np.float32(255)) - 1).numpy()
    assert found.shape == (1, size)
    assert found.dtype == np.float32
    assert found.min() < 0  # the last convolution is linear
    assert np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected)


def test_lists_and_frame_rates(model):
    many = np.stack([PICTURE, 255 - PICTURE])
    alone = [get_image_embedding(each, model=model, verbose=False) for each in many]
    together, times = get_image_embedding([PICTURE, many], [5, 4.0], model=model, verbose=False)
    np.testing.assert_allclose(together[0], alone[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(together[1], np.concatenate(alone), rtol=1e-4, atol=1e-5)
    assert [each.tolist() for each in times] == [[0], [0, 0.25]]
    embedding, time = get_image_embedding(many, 2, model=model, verbose=False)
    np.testing.assert_array_equal(embedding, together[1])
    assert time.tolist() == [0, 0.5]


def test_224_pixels_are_taken_as_they_are():
    picture = np.zeros((224, 224, 3), np.uint8)
    picture[0, 0] = 0, 51, 255
    assert preprocess_image(picture).shape == (1, 224, 224, 3)
    np.testing.assert_allclose(preprocess_image(picture)[0, 0, 0], [-1, -0.6, 1], rtol=1e-6)
    signed = np.full((2, 224, 224, 3), -128, np.int8)
    signed[0] = 127
    np.testing.assert_array_equal(preprocess_image(signed)[:, 0, 0, 0], [1, -1])
    wide = np.full((224, 224, 3), 65_535, np.uint16)
    assert preprocess_image(wide)[0].min() == 1
    floats = np.full((224, 224, 3), -0.25)
    assert preprocess_image(floats)[0].max() == np.float32(-0.25)
    assert preprocess_image(8 * floats)[0].max() == -1  # what exceeds 1 is divided by its maximum
    assert preprocess_image(floats).dtype == np.float32


def test_larger_images_are_brought_to_256_without_smoothing():
    """512 -> 256: the middle of each two pixels, so (2 i + 2 i + 1) / 2 of a ramp; 16 are cut off."""
    ramp = np.broadcast_to(np.arange(600)[:, np.newaxis, np.newaxis] % 256, (600, 512, 3)).astype(
        np.uint8
    )
    found = preprocess_image(ramp)[0]
    # 600 -> 300 rows, of which 150 - 112 = 38 are above: row 0 is between pixels 76 and 77
    assert found.shape == (224, 224, 3)
    np.testing.assert_allclose(found[0], 76.5 / 255, rtol=1e-6)
    np.testing.assert_allclose(found[1], 78.5 / 255, rtol=1e-6)  # in [0, 1], as openl3 has it
    across = preprocess_image(np.swapaxes(ramp, 0, 1))[0]
    np.testing.assert_array_equal(across, np.swapaxes(found, 0, 1))


def test_images_of_a_fractional_size():
    """640x480 -> 341x256: rows by 480 / 256, columns by 640 / 341."""
    picture = np.zeros((480, 640, 3), np.float32)
    picture[:] = np.linspace(-1, 1, 640)[:, np.newaxis]
    found = preprocess_image(picture)[0, 0, :, 0]
    left = 341 // 2 - 112  # 58
    places = (np.arange(left, left + 224) + 0.5) * (640 / 341) - 0.5
    np.testing.assert_allclose(found, places * 2 / 639 - 1, atol=1e-6)


def test_images_that_are_only_cropped():
    picture = np.zeros((230, 256, 3), np.uint8)
    picture[3, 16] = 100  # row 230 // 2 - 112, column 256 // 2 - 112
    picture[10, 100] = 200
    found = preprocess_image(picture)[0]
    assert found[0, 0, 0] == 0.5  # openl3 divides these by their maximum
    assert found[7, 84, 0] == 1
    assert found.sum() == 4.5


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((0, 224, 3)), "Got empty image"),
        (np.ones((224, 224)), "can only be 3D or 4D"),
        (np.ones((224, 224, 4)), "Need 3 channel images"),
        (np.ones((223, 400, 3)), "at least as large as 224x224 px. Got image\\(s\\) of size 223x400 px"),
        ("daisy.jpg", "image must be type list\\[np.ndarray\\] or np.ndarray. Got <class 'str'>"),
    ],
)
def test_what_is_no_image(model, image, message):
    with pytest.raises(OpenL3Error, match=message):
        get_image_embedding(image, model=model, verbose=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "mine"}, "Must be of type tf.keras.Model"),
        ({"input_repr": "mel64"}, 'Invalid input representation "mel64"'),
        ({"content_type": "speech"}, 'Invalid content type "speech"'),
        ({"embedding_size": 6144}, 'Invalid embedding size "6144"'),
        ({"verbose": 2}, "Invalid verbosity level 2"),
        ({"frame_rate": 0}, "Invalid frame rate 0"),
        ({"frame_rate": "30"}, "frame rate must be type"),
        ({"frame_rate": [30, 30]}, "number of image inputs \\(1\\) and number of frame rates \\(2\\)"),
    ],
)
def test_what_openl3_refuses(model, options, message):
    with pytest.raises(OpenL3Error, match=message):
        get_image_embedding(PICTURE, **{"model": model, "verbose": False} | options)


def test_a_black_image_is_warned_of():
    with pytest.warns(OpenL3Warning, match="all zeros"):
        preprocess_image(np.zeros((224, 224, 3), np.uint8))


def test_files(model, tmp_path, capsys):
    paths = [str(tmp_path / name) for name in ("a.png", "b.png", "grey.png", "none.png", "text.png")]
    transparent = np.concatenate([PICTURE, np.full((224, 224, 1), 9, np.uint8)], axis=2)
    Image.fromarray(PICTURE).save(paths[0])
    Image.fromarray(transparent).save(paths[1])
    Image.fromarray(PICTURE[..., 0]).save(paths[2])
    (tmp_path / "text.png").write_text("no picture")
    process_image_file(paths[:2], model=model, suffix="x", output_dir=str(tmp_path), verbose=True)
    assert "openl3: Saved" in capsys.readouterr().out
    expected = get_image_embedding(PICTURE, model=model, verbose=False)
    for name in ("a_x.npz", "b_x.npz"):
        with np.load(tmp_path / name) as saved:
            np.testing.assert_array_equal(saved["embedding"], expected)
    process_image_file(paths[0], model=model, suffix="x", verbose=False)
    assert "exists, skipping" in capsys.readouterr().out
    for path, message in zip(paths[2:], ["3D or 4D", "could not be found", "Could not open file"]):
        with pytest.raises(OpenL3Error, match=message):
            process_image_file(path, model=model, verbose=False)
    with pytest.raises(OpenL3Error, match="filepath should be type str or list"):
        process_image_file(3, model=model)


def test_without_a_model_the_published_weights_are_fetched(weights, model, tmp_path, monkeypatch):
    """The seeded weights in the place of openl3's, in this machine's cache."""
    content = weights[0].read_bytes()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(openl3_images.BLOBS, ("mel256", "music"), git_blob_sha1(content))
    cache_dir().mkdir(parents=True)
    (cache_dir() / "openl3_image_mel256_music-v0_4_0.h5.gz").write_bytes(content)
    found = get_image_embedding(PICTURE, embedding_size=512, verbose=False)
    openl3_images._published_model.cache_clear()
    expected = get_image_embedding(PICTURE, model=model, verbose=False)
    np.testing.assert_array_equal(found, expected)


def test_published_files_are_those_of_the_branch(monkeypatch, tmp_path):
    """Without a network, what is asked for; each of the six files has a digest of its own."""
    assert len(set(openl3_images.BLOBS.values())) == 6
    assert all(len(blob) == 40 for blob in openl3_images.BLOBS.values())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("L3FLOW_WEIGHTS_URL", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr("l3core.published.ATTEMPTS", 1)
    with pytest.raises(FetchError, match="/openl3_image_mel128_env-v0_4_0"):
        openl3_api.load_image_embedding_model("mel128", "env", 512)
    with pytest.raises(WeightsError, match="no weights file at nowhere"):
        openl3_api.load_image_embedding_model_from_path("nowhere.h5", 512)
