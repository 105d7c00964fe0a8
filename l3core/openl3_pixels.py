"""What openl3 makes of an image before it is embedded: for `l3core.openl3_images`.

Of an image that is not 224x224 it brings the shorter side to 256 by bilinear interpolation, without
smoothing, and takes the middle; the unsigned numbers of such an image end in [0, 1], where those of one
of 224x224 end in [-1, 1]; and whatever exceeds 1 then is divided by its maximum. Whoever wants what the
network was trained with gives it 224x224.
"""

import warnings

import numpy as np

from l3core.models.avc import IMAGE_SHAPE
from l3core.openl3_input import OpenL3Error, OpenL3Warning

SIDE = IMAGE_SHAPE[0]
SHORTER_SIDE = 256


def preprocess_image(image: np.ndarray) -> np.ndarray:
    """What a model of `load_image_embedding_model` takes: float32 `(images, 224, 224, 3)`.

    Args:
        image: as of `get_image_embedding`.

    Raises:
        OpenL3Error: an empty array, one that is no image, or less than 224 pixels at a side.
    """
    if image.size == 0:
        raise OpenL3Error("Got empty image")
    if np.all(image == 0):
        warnings.warn("Provided image is all zeros", OpenL3Warning, stacklevel=3)
    if image.ndim not in (3, 4):
        raise OpenL3Error("RGB image array can only be 3D or 4D (sequence of videos)")
    if image.shape[-1] != 3:
        raise OpenL3Error("Need 3 channel images corresponding to RGB.")
    batch = image if image.ndim == 4 else image[np.newaxis]
    rows, columns = batch.shape[1:3]
    if min(rows, columns) < SIDE:
        raise OpenL3Error(
            "Image(s) must be at at least as large as 224x224 px. "
            f"Got image(s) of size {rows}x{columns} px"
        )
    if (rows, columns) != (SIDE, SIDE):
        batch = np.array([_middle(frame) for frame in batch], np.float64)
    unsigned = batch.dtype.kind == "u"
    batch = _as_float(batch, np.float32)
    if unsigned:
        batch = 2 * batch - 1
    loudest = np.max(np.abs(batch))
    return batch / loudest if loudest > 1 else batch


def _middle(frame: np.ndarray) -> np.ndarray:
    """224x224 pixels from the middle, of an image whose shorter side is 256 if it was longer."""
    rows, columns = frame.shape[:2]
    shorter = min(rows, columns)
    if shorter > SHORTER_SIDE:
        from scipy import ndimage

        # scikit-image's `rescale`, from which openl3 has it
        sizes = [np.round(SHORTER_SIDE / shorter * size) for size in (rows, columns)]
        factors = [sizes[0] / rows, sizes[1] / columns, 1.0]
        frame = _as_float(frame, np.float64)
        frame = ndimage.zoom(frame, factors, order=1, mode="grid-constant", grid_mode=True)
    top, left = (size // 2 - SIDE // 2 for size in frame.shape[:2])
    return frame[top : top + SIDE, left : left + SIDE]


def _as_float(image: np.ndarray, dtype: type[np.floating]) -> np.ndarray:
    """Whole numbers by the largest of their type; floats as they are."""
    if image.dtype.kind not in "iu":
        return image.astype(dtype if dtype is np.float32 else np.result_type(image, np.float32))
    scaled = np.multiply(image, 1.0 / np.iinfo(image.dtype).max, dtype=_enough_for(image, dtype))
    return np.maximum(scaled, -1.0).astype(dtype)


def _enough_for(image: np.ndarray, dtype: type[np.floating]) -> type[np.floating]:
    """scikit-image's choice of what to compute in."""
    return dtype if image.dtype.itemsize <= np.dtype(dtype).itemsize else np.float64


def read_image(path: str) -> np.ndarray:
    """The image in a file, without its transparency.

    Raises:
        OpenL3Error: it cannot be read, or there is no Pillow.
    """
    try:
        from PIL import Image
    except ImportError:
        raise OpenL3Error(
            "process_image_file needs Pillow, and it is not here: pip install 'l3flow[video]'"
        ) from None
    try:
        with Image.open(path) as file:
            image = np.asarray(file.convert("RGB") if file.mode in ("P", "CMYK", "YCbCr") else file)
    except Exception as error:  # as openl3 does: whatever it is, the file cannot be opened
        raise OpenL3Error(f'Could not open file "{path}":\n{error}') from error
    return image[..., :3] if image.shape[-1] == 4 else image
