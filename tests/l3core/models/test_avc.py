"""The network of audio-visual correspondence: its sizes, its parts, a step of it against plain Keras."""

from contextlib import contextmanager

import keras
import numpy as np
import pytest
import tensorflow as tf

from l3core.errors import SpecError
from l3core.models import MODELS
from l3core.models.avc import AvcNetwork
from l3core.spec import EmbeddingSpec
from tests.l3core.oracle import spectrogram_db

NARROW = AvcNetwork(model="l3-narrow")
LABELS = np.array([1, 0])


@contextmanager
def policy(name):
    """Keras' dtype policy, for as long as something is built."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def pairs(count=2):
    """Images and sounds, noise of about half of full scale."""
    rng = np.random.default_rng(7)
    images = rng.uniform(-1, 1, (count, 224, 224, 3)).astype(np.float32)
    return images, rng.uniform(-0.5, 0.5, (count, 48_000)).astype(np.float32)


def numbers(layers):
    return sum(int(np.prod(weight.shape)) for layer in layers for weight in layer.weights)


def weighted(model, prefixes):
    """The layers with weights whose names begin so, as they follow one another."""
    return [layer for layer in model.layers if layer.weights and layer.name.startswith(prefixes)]


@pytest.mark.parametrize("input_repr", ["linear", "mel128", "mel256"])
def test_sizes_are_the_papers(input_repr):
    model = AvcNetwork(input_repr=input_repr).build(seed=0)
    # facts 3.1, counted by hand there
    assert numbers(weighted(model, "audio")) == 4_691_908
    assert numbers(weighted(model, "vision")) == 4_693_068
    assert numbers(weighted(model, ("fusion", "match"))) == 131_458
    assert model.count_params() == 9_516_434
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 9_508_746


def test_maps_of_each_spectrogram_have_the_papers_sizes():
    last = {}
    for input_repr in ("linear", "mel128", "mel256"):
        model = AvcNetwork(model="l3-narrow", input_repr=input_repr).build(seed=0)
        last[input_repr] = model.get_layer("audio_embedding_layer").output.shape
    assert model.get_layer("vision_embedding_layer").output.shape == (None, 28, 28, 64)
    assert last == {
        "linear": (None, 32, 24, 64),
        "mel128": (None, 16, 24, 64),
        "mel256": (None, 32, 24, 64),
    }


@pytest.mark.parametrize("frontend", ["as-trained", "openl3"])
def test_the_spectrogram_is_in_the_graph(frontend):
    model = AvcNetwork(model="l3-narrow", frontend=frontend).build(seed=0)
    _, sound = pairs()
    found = model.get_layer("frontend")(sound).numpy()[..., 0]
    before = 982 if frontend == "as-trained" else 0
    expected = spectrogram_db(
        sound,
        sample_rate_hz=48_000,
        n_fft=2048,
        hop=242,
        n_mels=256,
        generation=frontend,
        frames=199,
        pad_before=before,
        pad_after=1964 - before,
    )
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_untrained_weights_are_the_seeds():
    """The same kernels as the embedding of `random:SEED` has, and other ones for another seed."""
    model = NARROW.build(seed=3)
    spec = NARROW.embedding_spec
    drawn = MODELS["l3-narrow"].random_tensors(spec, 3)
    found = NARROW.audio_tensors(model)
    shapes = [shape for layer in MODELS["l3-narrow"].layer_shapes(spec) for shape in layer.shapes]
    assert [tensor.shape for tensor in found] == shapes
    for tensor, expected in zip(found[4:], drawn[4:], strict=True):
        np.testing.assert_array_equal(tensor, expected)
    np.testing.assert_array_equal(found[:4], [[1], [0], [0], [1]])  # the input's normalization is idle
    again, other = (NARROW.vision_tensors(NARROW.build(seed=seed)) for seed in (3, 4))
    for tensor, same, another in zip(NARROW.vision_tensors(model), again, other, strict=True):
        np.testing.assert_array_equal(tensor, same)
        assert tensor.ndim < 4 or np.abs(tensor - another).max() > 0.1
    kernel, bias = model.get_layer("fusion").get_weights()
    assert kernel.std() == pytest.approx(np.sqrt(2 / 128), rel=0.05)
    assert not bias.any()


def test_kernels_decay_and_nothing_else():
    model = NARROW.build(seed=0, l2=0.5)
    kernels = [weight for weight in model.trainable_weights if weight.name == "kernel"]
    assert len(kernels) == 18  # eight, eight and two
    expected = 0.5 * sum(np.sum(np.square(kernel.numpy(), dtype=np.float64)) for kernel in kernels)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("size", [768, 64])
def test_the_audio_part_is_the_embedding(size):
    """What is trained, pooled at its embedding layer, is what the exported weights embed."""
    model = NARROW.build(seed=1)
    shake(model)
    _, sound = pairs()
    layer = model.get_layer("audio_embedding_layer").output
    inside = keras.Model(model.get_layer("audio_batch_normalization_0").input, layer)
    maps = model.get_layer("frontend")(sound)
    pool = {768: 8, 64: None}[size]
    last = inside(maps).numpy()  # (2, 32, 24, 64)
    rows, columns = (4, 3) if pool else (1, 1)
    blocks = last.reshape(2, rows, 32 // rows, columns, 24 // columns, 64)
    expected = blocks.max(axis=(2, 4)).reshape(2, size)
    spec = EmbeddingSpec(**NARROW.embedding_spec_fields, embedding_size=size)
    network = spec.network.build_network(spec, NARROW.audio_tensors(model), folded=True)
    found = network(spec.network.build_frontend(spec)(sound)).numpy()
    assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize("input_repr", ["linear", "mel256"])
def test_a_config_gives_the_network_back(input_repr):
    model = AvcNetwork(model="l3-narrow", input_repr=input_repr).build(seed=1)
    copy = keras.Model.from_config(model.get_config())
    copy.set_weights(model.get_weights())
    np.testing.assert_array_equal(copy(list(pairs())), model(list(pairs())))
    assert len(copy.losses) == len(model.losses) == 18


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_leaves_the_spectrogram_and_the_softmax_alone(precision):
    model = NARROW.build(seed=0)
    with policy(precision):
        mixed = NARROW.build(seed=0)
    assert mixed.get_layer("audio_conv2d_1").compute_dtype == precision.removeprefix("mixed_")
    assert mixed.get_layer("match").compute_dtype == "float32"
    images, sound = pairs()
    maps = mixed.get_layer("frontend")(sound)
    assert maps.dtype == tf.float32
    np.testing.assert_array_equal(maps, model.get_layer("frontend")(sound))
    found, expected = (net([images, sound], training=True).numpy() for net in (mixed, model))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(found, expected, atol=0.1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "edgel3-sea-64"}, "model: what can be trained is one of l3, l3-narrow"),
        ({"input_repr": "mel64"}, "input_repr: must be one of mel256, mel128, linear, got 'mel64'"),
        ({"frontend": "librosa"}, "frontend: must be one of openl3, as-trained"),
    ],
)
def test_what_there_is_not(fields, message):
    with pytest.raises(SpecError, match=message):
        AvcNetwork(**fields)


# A step against plain Keras: the layers of the paper's table in words, from facts 3.1.
BLOCK = "conv norm relu conv norm relu"
AUDIO = f"norm {BLOCK} pool {BLOCK} pool {BLOCK} pool {BLOCK}".split()
VISION = f"norm conv norm relu conv relu norm pool {BLOCK} pool {BLOCK} pool {BLOCK}".split()


def plain_part(x, words, filters, last_pool):
    """One subnetwork as `words` tell; returns (output, its layers with weights)."""
    widths = iter(filters)
    kept = []
    for word in words:
        if word == "conv":
            layer = keras.layers.Conv2D(next(widths), (3, 3), padding="same")
        elif word == "norm":
            layer = keras.layers.BatchNormalization(epsilon=1e-3, momentum=0.99)
        elif word == "relu":
            layer = keras.layers.Activation("relu")
        else:
            layer = keras.layers.MaxPooling2D((2, 2))
        x = layer(x)
        if word in ("conv", "norm"):
            kept.append(layer)
    return keras.layers.Flatten()(keras.layers.MaxPooling2D(last_pool)(x)), kept


def plain_network(filters, rows):
    """(model of images and maps of so many rows, its layers with weights: vision, audio, dense ones)."""
    image, maps = keras.Input((224, 224, 3)), keras.Input((rows, 199, 1))
    seen, vision = plain_part(image, VISION, filters, (28, 28))
    heard, audio = plain_part(maps, AUDIO, filters, {256: (32, 24), 128: (16, 24)}[rows])
    hidden, match = keras.layers.Dense(128, activation="relu"), keras.layers.Dense(2)
    logits = match(hidden(keras.layers.Concatenate()([seen, heard])))
    return keras.Model([image, maps], keras.layers.Softmax()(logits)), [*vision, *audio, hidden, match]


def plain_loss(model, layers, inputs):
    likely = model(inputs, training=True)
    right = tf.stack([likely[0, 1], likely[1, 0]])  # the first pair belongs together
    kernels = [layer.weights[0] for layer in layers if len(layer.weights) == 2]
    return -tf.reduce_mean(tf.math.log(right)) + 1e-5 * sum(tf.reduce_sum(k**2) for k in kernels)


def our_loss(model, inputs):
    likely = model(inputs, training=True)
    entropy = keras.losses.SparseCategoricalCrossentropy(dtype=likely.dtype)(LABELS, likely)
    return entropy + sum(model.losses)


def gradients(loss, layers):
    """(loss, gradients of all trainable weights, layer by layer)."""
    with tf.GradientTape() as tape:
        value = loss()
    weights = [weight.value for layer in layers for weight in layer.trainable_weights]
    return float(value), [gradient.numpy() for gradient in tape.gradient(value, weights)]


def shake(model):
    """Weights whose normalizations all do something, as trained ones' do."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if layer.weights:
            moved = [
                w if w.ndim > 1 else w + rng.uniform(0.05, 0.3, w.shape) for w in layer.get_weights()
            ]
            layer.set_weights(moved)


def a_step(network):
    """((loss, gradients, all weights after it), the same of plain Keras) from the same weights."""
    ours = network.build(seed=5)
    shake(ours)
    layers = weighted(ours, "vision") + weighted(ours, "audio") + weighted(ours, ("fusion", "match"))
    rows = int(network.input_repr.removeprefix("mel"))
    plain, plain_layers = plain_network(MODELS[network.model].trunk.filters, rows)
    for layer, theirs in zip(layers, plain_layers, strict=True):
        theirs.set_weights(layer.get_weights())
    images, sound = map(tf.constant, pairs())
    found = gradients(lambda: our_loss(ours, [images, sound]), layers)
    maps = ours.get_layer("frontend")(sound)
    expected = gradients(lambda: plain_loss(plain, plain_layers, [images, maps]), plain_layers)
    after = [[w for layer in of for w in layer.get_weights()] for of in (layers, plain_layers)]
    return (*found, after[0]), (*expected, after[1])


def assert_the_same_step(found, expected):
    loss, slopes, after = found
    expected_loss, expected_slopes, expected_after = expected
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert len(slopes) == len(expected_slopes) == 2 * (2 * (9 + 8) + 2)
    largest = max(np.linalg.norm(slope) for slope in expected_slopes)
    for slope, by_plain in zip(slopes, expected_slopes, strict=True):
        # a bias before a normalization moves nothing: its gradient is 0, what is computed is rounding
        size = max(np.linalg.norm(by_plain), 1e-5 * largest)
        assert np.linalg.norm(slope - by_plain) <= 1e-5 * size
    for weight, by_plain in zip(after, expected_after, strict=True):  # moving statistics, too
        np.testing.assert_allclose(weight, by_plain, rtol=1e-5, atol=1e-7)


def test_a_step_of_the_narrow_network_is_plain_keras():
    with policy("float64"):
        found, expected = a_step(NARROW)
    assert found[1][0].dtype == np.float64
    assert_the_same_step(found, expected)


def test_a_step_of_the_full_network_is_plain_keras():
    """mel128 has half the work of mel256. Float32 would round to 4e-5 of some gradients."""
    with policy("float64"):
        assert_the_same_step(*a_step(AvcNetwork(input_repr="mel128")))
