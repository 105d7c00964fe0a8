"""openl3's image functions under their own names, for `l3core.openl3_api`.

Values are those of openl3 0.4.2 for the same weights, whatever size an image has.
"""

import os
from functools import lru_cache
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from l3core.errors import WeightsError
from l3core.keras_files import read_h5
from l3core.models.avc import IMAGE_SHAPE
from l3core.models.base import PublishedFile
from l3core.models.l3 import BASE_URL, TRAINED_ON, TRUNK
from l3core.models.subnetwork import vision
from l3core.models.trunk import DATA_FORMAT
from l3core.openl3_input import INPUT_REPRS, OpenL3Error, get_output_path
from l3core.openl3_pixels import preprocess_image, read_image
from l3core.published import fetch

if TYPE_CHECKING:
    import keras

# The last pooling that makes an embedding of that size (openl3/models.py).
POOLS = {8192: (7, 7), 512: (28, 28)}
# Git's names of the files on branch `models` of github.com/marl/openl3 (c2321e8).
BLOBS = {
    ("linear", "env"): "a1e527ad5367efb19b18cd051523bf3fadd02feb",
    ("linear", "music"): "7ccfc16536bff5f46902df6d7f89075f1bfce8bb",
    ("mel128", "env"): "680c5d4adffc2b0d7b789913a2e9ebccd469be55",
    ("mel128", "music"): "c287c5f9bc949595ff4fda83177bcc98142601e9",
    ("mel256", "env"): "dbdf24a7e837267487adb3eed1586fcd2e37d775",
    ("mel256", "music"): "67bf0b891eb4fb797defafa5b3edc3c75f3cd6ee",
}


def get_image_embedding(
    image: np.ndarray | list[np.ndarray],
    frame_rate: float | list[float] | None = None,
    model: "keras.Model | None" = None,
    input_repr: str = "mel256",
    content_type: str = "music",
    embedding_size: int = 8192,
    batch_size: int = 32,
    verbose: bool | int = True,
) -> Any:
    """L3 embedding of images.

    Args:
        image: `(rows, columns, 3)` or `(images, rows, columns, 3)`, or a list of such arrays. Unsigned
            numbers are of 0 to their type's maximum, signed ones and floats of -1 to 1.
        frame_rate: images a second, or a list of one for each array, for timestamps.
        model: from `load_image_embedding_model`; then the next three are ignored.
        input_repr: "linear", "mel128" or "mel256", of the audio network that it was trained with.
        content_type: "music" or "env", what the weights were trained on.
        embedding_size: 8192 or 512.
        batch_size: images in one call of the model.
        verbose: whether to show progress.

    Returns:
        Embedding float32 `(images, embedding_size)`, or a list of them if `image` is a list; with a
        frame rate, a pair of that and timestamps float64 `(images,)` in seconds.

    Raises:
        OpenL3Error: where openl3 raises it.
        WeightsError: the weights could not be fetched.
    """
    if model is not None and not _is_keras_model(model):
        raise OpenL3Error(
            f"Invalid model provided. Must be of type tf.keras.Model but got {type(model)}"
        )
    _validate(input_repr, content_type, embedding_size)
    if verbose not in (0, 1):
        raise OpenL3Error(f"Invalid verbosity level {verbose}")
    images, rates = _as_lists(image, frame_rate)
    for rate in rates:
        if rate is not None and (not isinstance(rate, Real) or rate <= 0):
            raise OpenL3Error(f"Invalid frame rate {rate}")
    batches = [preprocess_image(each) for each in images]
    if model is None:
        model = _published_model(str(input_repr), str(content_type), int(embedding_size))
    vectors = model.predict(np.concatenate(batches), batch_size=batch_size, verbose=int(verbose))
    ends = np.cumsum([len(batch) for batch in batches])[:-1]
    embeddings = np.split(vectors, ends)
    if frame_rate is None:
        return embeddings if isinstance(image, list) else embeddings[0]
    times = [np.arange(len(each)) / float(rate) for each, rate in zip(embeddings, rates)]
    return (embeddings, times) if isinstance(image, list) else (embeddings[0], times[0])


def process_image_file(
    filepath: str | list[str],
    output_dir: str | None = None,
    suffix: str | None = None,
    model: "keras.Model | None" = None,
    input_repr: str = "mel256",
    content_type: str = "music",
    embedding_size: int = 8192,
    batch_size: int = 32,
    overwrite: bool = False,
    verbose: bool | int = True,
) -> None:
    """Embed image files; each one's array `embedding` goes to an .npz. Needs Pillow.

    Args:
        filepath: a path or a list of them.
        output_dir: where to write; None: beside each file.
        suffix: goes between the file's name and ".npz".
        model: as in `get_image_embedding`, and so are the others up to `batch_size`.
        input_repr: spectrogram of the audio network that it was trained with.
        content_type: what the weights were trained on.
        embedding_size: 8192 or 512.
        batch_size: images in one call of the model.
        overwrite: whether an output that is there is made again; else its file is skipped.
        verbose: whether to say what is done.

    Raises:
        OpenL3Error: a file is not there or cannot be read, and where openl3 raises it.
        WeightsError: the weights could not be fetched.
    """
    if not isinstance(filepath, str | list):
        raise OpenL3Error(f"filepath should be type str or list[str], but got {filepath}.")
    paths = [filepath] if isinstance(filepath, str) else filepath
    if model is None:
        model = load_image_embedding_model(input_repr, content_type, embedding_size)
    for number, path in enumerate(paths, 1):
        if not os.path.exists(path):
            raise OpenL3Error(f'File "{path}" could not be found.')
        if verbose:
            print(f"openl3: Processing {path} ({number}/{len(paths)})")
        output_path = get_output_path(path, (suffix or "") + ".npz", output_dir=output_dir)
        if os.path.exists(output_path) and not overwrite:
            print(f"openl3: {output_path} exists, skipping.")
            continue
        embedding = get_image_embedding(
            read_image(path), model=model, batch_size=batch_size, verbose=verbose
        )
        np.savez(output_path, embedding=embedding)
        if verbose:
            print(f"openl3: Saved {output_path}")


def process_video_file(*args: Any, **kwargs: Any) -> NoReturn:
    """Not here; see `OpenL3Error`."""
    raise OpenL3Error(
        "process_video_file is not here: embed a video's frames with get_image_embedding, and its sound "
        "with get_audio_embedding"
    )


def load_image_embedding_model(input_repr: str, content_type: str, embedding_size: int) -> "keras.Model":
    """A Keras model with the published weights: images `(batch, 224, 224, 3)` -> `(batch, size)`.

    Raises:
        OpenL3Error: arguments that openl3 does not know.
        WeightsError: the weights could not be fetched.
    """
    _validate(input_repr, content_type, embedding_size)
    file = PublishedFile(
        name=f"openl3_image_{input_repr}_{content_type}-v0_4_0.h5.gz",
        base_url=BASE_URL,
        git_blob_sha1=BLOBS[str(input_repr), str(content_type)],
        licence="CC BY 4.0",
        trained_on=TRAINED_ON[str(content_type)],
    )
    return load_image_embedding_model_from_path(str(fetch(file)), embedding_size)


def load_image_embedding_model_from_path(model_path: str, embedding_size: int) -> "keras.Model":
    """The same with the weights of an .h5 (or .h5.gz) in openl3's layout.

    Raises:
        OpenL3Error: an embedding size that openl3 does not know.
        WeightsError: no such file, or one that does not fit.
    """
    import keras
    from keras import layers

    _validate("mel256", "music", embedding_size)
    try:
        content = Path(model_path).read_bytes()
    except OSError as error:
        raise WeightsError(f"no weights file at {model_path}: {error.strerror}") from None
    network = vision(TRUNK.filters)
    tensors = read_h5(content, network.layer_shapes(whole=False), name=str(model_path))
    image = keras.Input(IMAGE_SHAPE, dtype="float32")
    last = network.build(image, l2=0.0, whole=False)
    pooled = layers.MaxPooling2D(POOLS[embedding_size], padding="same", data_format=DATA_FORMAT)(last)
    model = keras.Model(image, layers.Flatten(data_format=DATA_FORMAT)(pooled))
    network.set_tensors(model, tensors, whole=False)
    return model


_published_model = lru_cache(maxsize=2)(load_image_embedding_model)


def _validate(input_repr: Any, content_type: Any, embedding_size: Any) -> None:
    if str(input_repr) not in INPUT_REPRS:
        raise OpenL3Error(f'Invalid input representation "{input_repr}"')
    if str(content_type) not in TRAINED_ON:
        raise OpenL3Error(f'Invalid content type "{content_type}"')
    if embedding_size not in POOLS:
        raise OpenL3Error(f'Invalid embedding size "{embedding_size}"')


def _as_lists(image: Any, frame_rate: Any) -> tuple[list[np.ndarray], list[Any]]:
    """Arrays and frame rates, as many of one as of the other."""
    if not isinstance(image, np.ndarray | list):
        raise OpenL3Error(f"image must be type list[np.ndarray] or np.ndarray. Got {type(image)}")
    images = [image] if isinstance(image, np.ndarray) else image
    if frame_rate is None or isinstance(frame_rate, Real):
        rates = [frame_rate] * len(images)
    elif isinstance(frame_rate, list):
        rates = frame_rate
    else:
        raise OpenL3Error(
            f"frame rate must be type list[numbers.Real] or numbers.Real. Got {type(frame_rate)}"
        )
    if len(images) != len(rates):
        raise OpenL3Error(
            f"Mismatch between number of image inputs ({len(images)}) and number of frame rates "
            f"({len(rates)})"
        )
    return images, rates


def _is_keras_model(model: object) -> bool:
    import keras

    return isinstance(model, keras.Model)
