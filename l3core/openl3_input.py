"""What openl3's functions accept, and what they say of the rest: for `l3core.openl3_api`."""

import os
import warnings
from numbers import Real
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from l3core.models.l3 import L3
from l3core.resampling import resampy_best

if TYPE_CHECKING:
    import keras

TARGET_SR = L3.sample_rate_hz
FRONTENDS = ("librosa", "kapre")
INPUT_REPRS = ("linear", "mel128", "mel256")


class OpenL3Error(Exception):
    """What openl3 raises for arguments and files that it cannot use."""


class OpenL3Warning(UserWarning):
    """What openl3 warns of: silent or very short audio, a black image."""


def refuse_librosa() -> NoReturn:
    """Say what to use in the place of the librosa front end."""
    raise OpenL3Error(
        "the librosa front end is not here: use frontend='kapre', openl3's default for the same weights"
    )


def validate_frontend(frontend: str, input_repr: str | None, model: "keras.Model | None") -> str:
    """The input representation, if the front end and the model can be used with it."""
    if frontend not in FRONTENDS:
        raise OpenL3Error(f'Invalid frontend "{frontend}". Must be one of {FRONTENDS}')
    if frontend == "librosa":
        refuse_librosa()
    if model is not None and len(model.input_shape) != 3:
        raise OpenL3Error(
            f"Invalid model input shape: {model.input_shape}. Expected 3 dims got "
            f"{len(model.input_shape)}."
        )
    input_repr = "mel256" if input_repr is None else input_repr
    if str(input_repr) not in INPUT_REPRS:
        raise OpenL3Error(f'Invalid input representation "{input_repr}". Must be one of {INPUT_REPRS}')
    return str(input_repr)


def as_lists(audio: Any, sr: Any) -> tuple[list[np.ndarray], list[Any]]:
    """Signals and rates, as many of one as of the other."""
    if isinstance(audio, np.ndarray):
        signals = [audio]
    elif isinstance(audio, list):
        signals = audio
    else:
        raise OpenL3Error(f"audio must be type list[np.ndarray] or np.ndarray. Got {type(audio)}")
    if isinstance(sr, Real):
        rates = [sr] * len(signals)
    elif isinstance(sr, list):
        rates = sr
    else:
        raise OpenL3Error(f"sr must be type list[numbers.Real] or numbers.Real. Got {type(sr)}")
    if len(signals) != len(rates):
        raise OpenL3Error(
            f"Mismatch between number of audio inputs ({len(signals)}) and number of sample rates "
            f"({len(rates)})"
        )
    return signals, rates


def prepare(audio: np.ndarray, sr: Any, *, hop_size: Any, center: Any) -> np.ndarray:
    """openl3's checks and warnings, downmix and resampling: a mono signal at 48 kHz."""
    if audio.size == 0:
        raise OpenL3Error("Got empty audio")
    if np.all(audio == 0):
        warnings.warn("Provided audio is all zeros", OpenL3Warning, stacklevel=3)
    if audio.ndim > 2:
        raise OpenL3Error("Audio array can only be be 1D or 2D")
    if audio.ndim == 2:
        audio = np.mean(audio, axis=1)
    if not np.issubdtype(audio.dtype, np.floating):
        audio = audio.astype(np.float32)
    if not isinstance(sr, Real) or sr <= 0:
        raise OpenL3Error(f"Invalid sample rate {sr}")
    if not isinstance(hop_size, Real) or hop_size <= 0:
        raise OpenL3Error(f"Invalid hop size {hop_size}")
    if center not in (True, False):
        raise OpenL3Error(f"Invalid center value {center}")
    if sr != TARGET_SR:
        audio = resampy_best(audio, float(sr), TARGET_SR)
    if audio.size < TARGET_SR:
        warnings.warn(
            "Duration of provided audio is shorter than window size (1 second). Audio will be padded.",
            OpenL3Warning,
            stacklevel=3,
        )
    return audio


def get_output_path(filepath: str, suffix: str, output_dir: str | None = None) -> str:
    """Where the output for an input file goes; an underscore sets a suffix apart from the name."""
    base = os.path.splitext(os.path.basename(filepath))[0]
    if not suffix.startswith("."):
        base += "_"
    return os.path.join(output_dir or os.path.dirname(filepath), base + suffix)
