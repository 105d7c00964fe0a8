"""openl3's functions under their own names: move over by changing an import.

    from l3core.openl3_api import get_audio_embedding, process_audio_file

Arguments, return types, warnings, errors, file outputs and timestamps are those of openl3 0.4.2, and so
are the values (relative L2 below 1e-4): a whole signal is resampled by resampy's `kaiser_best`, unlike
the tables of `l3flow embed`, whose recordings are resampled in blocks by soxr. Only the "kapre" front
end is here; images and video are not.
"""

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from l3core.audio import ArraySource
from l3core.embedding import Embedder
from l3core.errors import SpecError
from l3core.openl3_images import (
    get_image_embedding,
    load_image_embedding_model,
    load_image_embedding_model_from_path,
    process_image_file,
    process_video_file,
)
from l3core.openl3_input import (
    TARGET_SR,
    OpenL3Error,
    OpenL3Warning,
    as_lists,
    get_output_path,
    prepare,
    refuse_librosa,
    validate_frontend,
)
from l3core.spec import EmbeddingSpec
from l3core.weights import load_weights
from l3core.windows import WindowGrid

if TYPE_CHECKING:
    import keras

__all__ = [
    "OpenL3Error",
    "OpenL3Warning",
    "get_audio_embedding",
    "get_image_embedding",
    "get_output_path",
    "load_audio_embedding_model",
    "load_audio_embedding_model_from_path",
    "load_image_embedding_model",
    "load_image_embedding_model_from_path",
    "preprocess_audio",
    "process_audio_file",
    "process_image_file",
    "process_video_file",
]


def get_audio_embedding(
    audio: np.ndarray | list[np.ndarray],
    sr: float | list[float],
    model: "keras.Model | None" = None,
    input_repr: str | None = None,
    content_type: str = "music",
    embedding_size: int = 6144,
    center: bool = True,
    hop_size: float = 0.1,
    batch_size: int = 32,
    frontend: str = "kapre",
    verbose: bool | int = True,
) -> tuple[Any, Any]:
    """L3 embedding of one or several signals.

    Args:
        audio: `(samples,)` or `(samples, channels)`, or a list of such arrays.
        sr: sample rate in Hz, or a list of one for each signal.
        model: from `load_audio_embedding_model`; then `input_repr`, `content_type` and
            `embedding_size` are ignored.
        input_repr: "linear", "mel128" or "mel256" (the default).
        content_type: "music" or "env", what the weights were trained on.
        embedding_size: 6144 or 512.
        center: whether half a second of zeros goes in front, so that timestamps are window centres.
        hop_size: seconds between two windows.
        batch_size: windows in one call of the model.
        frontend: "kapre".
        verbose: whether to show progress.

    Returns:
        (embedding float32 `(windows, embedding_size)`, timestamps float64 `(windows,)` in seconds), or
        two lists of such arrays if `audio` is a list.

    Raises:
        OpenL3Error: where openl3 raises it.
    """
    if model is not None and not _is_keras_model(model):
        raise OpenL3Error(
            f"Invalid model provided. Must be of type tf.keras.Model but got {type(model)}"
        )
    input_repr = validate_frontend(frontend, input_repr, model)
    if str(content_type) not in ("music", "env"):
        raise OpenL3Error(f'Invalid content type "{content_type}"')
    if embedding_size not in (6144, 512):
        raise OpenL3Error(f'Invalid embedding size "{embedding_size}"')
    if verbose not in (0, 1):
        raise OpenL3Error(f"Invalid verbosity level {verbose}")
    audio_list, rates = as_lists(audio, sr)
    signals = [
        prepare(signal, rate, hop_size=hop_size, center=center)
        for signal, rate in zip(audio_list, rates)
    ]
    grid = _grid(hop_size, center)
    if model is not None:  # the caller's own, weights and all
        embeddings = [
            model.predict(_windows(signal, grid), batch_size=batch_size, verbose=int(verbose))
            for signal in signals
        ]
    else:
        embeddings = _embed(signals, grid, (input_repr, content_type, embedding_size), batch_size)
    timestamps = [np.arange(len(embedding)) * hop_size for embedding in embeddings]
    if isinstance(audio, list):
        return embeddings, timestamps
    return embeddings[0], timestamps[0]


def process_audio_file(
    filepath: str | list[str],
    output_dir: str | None = None,
    suffix: str | None = None,
    model: "keras.Model | None" = None,
    input_repr: str | None = None,
    content_type: str = "music",
    embedding_size: int = 6144,
    center: bool = True,
    hop_size: float = 0.1,
    batch_size: int = 32,
    overwrite: bool = False,
    frontend: str = "kapre",
    verbose: bool | int = True,
) -> None:
    """Embed audio files; each one's arrays `embedding` and `timestamps` go to an .npz.

    Args:
        filepath: a path or a list of them.
        output_dir: where to write; None: beside each file.
        suffix: goes between the file's name and ".npz".
        model: as in `get_audio_embedding`, and so are the others up to `batch_size`.
        input_repr: spectrogram.
        content_type: what the weights were trained on.
        embedding_size: 6144 or 512.
        center: whether timestamps are window centres.
        hop_size: seconds.
        batch_size: windows in one call of the model.
        overwrite: whether an output that is there is made again; else its file is skipped.
        frontend: "kapre".
        verbose: whether to say what is done.

    Raises:
        OpenL3Error: a file is not there or cannot be read, and where openl3 raises it.
    """
    if isinstance(filepath, str):
        paths = [filepath]
    elif isinstance(filepath, list):
        paths = filepath
    else:
        raise OpenL3Error(f"filepath should be type str or list[str], but got {filepath}.")
    input_repr = validate_frontend(frontend, input_repr, model)
    for number, path in enumerate(paths, 1):
        if not os.path.exists(path):
            raise OpenL3Error(f'File "{path}" could not be found.')
        if verbose:
            print(f"openl3: Processing {path} ({number}/{len(paths)})")
        output_path = get_output_path(path, (suffix or "") + ".npz", output_dir=output_dir)
        if os.path.exists(output_path) and not overwrite:
            print(f"openl3: {output_path} exists and overwriting not enabled, skipping.")
            continue
        try:
            audio, sr = soundfile.read(path)
        except Exception as error:  # as openl3 does: whatever it is, the file cannot be opened
            raise OpenL3Error(f'Could not open file "{path}":\n{error}') from error
        embedding, timestamps = get_audio_embedding(
            audio,
            sr,
            model=model,
            input_repr=input_repr,
            content_type=content_type,
            embedding_size=embedding_size,
            center=center,
            hop_size=hop_size,
            batch_size=batch_size,
            frontend=frontend,
            verbose=verbose,
        )
        np.savez(output_path, embedding=embedding, timestamps=timestamps)
        if verbose:
            print(f"openl3: Saved {output_path}")


def load_audio_embedding_model(
    input_repr: str, content_type: str, embedding_size: int, frontend: str = "kapre"
) -> "keras.Model":
    """A Keras model with the published weights: windows `(batch, 1, 48000)` -> `(batch, size)`.

    Raises:
        OpenL3Error: arguments that openl3 does not know.
        WeightsError: the weights could not be fetched.
    """
    input_repr = validate_frontend(frontend, input_repr, None)
    return _keras_model(_spec(input_repr, content_type, embedding_size), frontend)


def load_audio_embedding_model_from_path(
    model_path: str, input_repr: str, embedding_size: int, frontend: str = "kapre"
) -> "keras.Model":
    """The same with the weights of an .h5 (or .h5.gz) in openl3's layout.

    Raises:
        OpenL3Error: arguments that openl3 does not know.
        WeightsError: no such file, or one that does not fit.
    """
    input_repr = validate_frontend(frontend, input_repr, None)
    return _keras_model(_spec(input_repr, "music", embedding_size, str(model_path)), frontend)


def preprocess_audio(
    audio: np.ndarray,
    sr: float,
    hop_size: float = 0.1,
    input_repr: str | None = None,
    center: bool = True,
    **kw: Any,
) -> np.ndarray:
    """Windows `(windows, 1, 48000)` that a model of `load_audio_embedding_model` takes.

    Raises:
        OpenL3Error: empty audio, a wrong rank, rate or hop; an `input_repr`, which asks for the librosa
            front end.
    """
    if input_repr:
        refuse_librosa()
    signal = prepare(audio, sr, hop_size=hop_size, center=center)
    return _windows(signal, _grid(hop_size, center))


def _grid(hop_size: float, center: bool) -> WindowGrid:
    hop_samples = int(hop_size * TARGET_SR)
    if hop_samples < 1:
        raise OpenL3Error(f"Invalid hop size {hop_size}: less than a sample at {TARGET_SR} Hz")
    kind = "center" if center else "nocenter"
    return WindowGrid(kind=kind, window_samples=TARGET_SR, hop_samples=hop_samples)


def _windows(signal: np.ndarray, grid: WindowGrid) -> np.ndarray:
    starts = grid.starts(len(signal))
    front = -int(starts[0])
    behind = max(0, int(starts[-1]) + TARGET_SR - len(signal))
    padded = np.pad(signal, (front, behind)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(padded, TARGET_SR)
    return windows[starts + front][:, np.newaxis, :]


def _spec(
    input_repr: str, content_type: str, embedding_size: int, weights: str = "published"
) -> EmbeddingSpec:
    try:
        return EmbeddingSpec(
            model="l3",
            input_repr=input_repr,
            content=content_type,
            embedding_size=embedding_size,
            weights=weights,
        )
    except SpecError as error:
        raise OpenL3Error(f"Invalid {error}") from None


def _embed(
    signals: list[np.ndarray], grid: WindowGrid, kind: tuple[str, str, int], batch_size: int
) -> list[np.ndarray]:
    """Vectors of each signal; the windows of all of them share batches."""
    embedder = _embedder(*kind, batch_size).regrid(grid)
    segments = (
        (number, segment)
        for number, signal in enumerate(signals)
        for segment in embedder.segments(ArraySource(signal, TARGET_SR))
    )
    parts: list[list[np.ndarray]] = [[] for _ in signals]
    for number, vectors, _ in embedder.embed_segments(segments):
        parts[number].append(vectors)
    return [np.concatenate(part) for part in parts]


@lru_cache(maxsize=2)
def _embedder(input_repr: str, content_type: str, embedding_size: int, batch_size: int) -> Embedder:
    return Embedder(_spec(input_repr, content_type, embedding_size), batch_size=batch_size)


def _keras_model(spec: EmbeddingSpec, frontend: str) -> "keras.Model":
    import keras
    from keras import layers

    window = layers.Input((1, TARGET_SR), dtype="float32")
    maps = spec.network.build_frontend(spec)(layers.Reshape((TARGET_SR,))(window))
    network = spec.network.build_network(spec, load_weights(spec).tensors, folded=False)
    model = keras.Model(window, network(maps))
    model.frontend = frontend
    return model


def _is_keras_model(model: object) -> bool:
    import keras

    return isinstance(model, keras.Model)
