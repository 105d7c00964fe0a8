"""Where clips lie in the plane: principal components, or UMAP."""

import sys
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from l3core.errors import UsageError
from l3core.numba_cache import find_numba_a_cache

NEIGHBOURS = 15  # UMAP's own
LARGEST = 1e12  # the squares of a million of them are added up in float32


class Placed(NamedTuple):
    """Vectors in the plane.

    Attributes:
        points: float64 `(vectors, 2)`.
        variance: shares of the vectors' variance along both axes; None where axes mean nothing.
    """

    points: np.ndarray
    variance: tuple[float, float] | None


def pca(vectors: np.ndarray, *, seed: int = 0) -> Placed:
    """The first two principal components; those that few vectors do not have are 0.

    Args:
        vectors: float32 `(vectors, d)`, at least one.
        seed: of where the iteration begins; the result does not depend on it beyond rounding.
    """
    from sklearn.decomposition import PCA

    least = min(vectors.shape)
    points = np.zeros((len(vectors), 2))
    vectors, scale = _squarable(vectors)
    if len(vectors) < 2 or not np.ptp(vectors, axis=0).any():
        return Placed(points, (0.0, 0.0))
    # arpack finds two components without the others, and needs more than two dimensions
    solver = "arpack" if least > 2 else "full"
    model = PCA(min(2, least), svd_solver=solver, random_state=seed)
    found = model.fit_transform(vectors)
    points[:, : found.shape[1]] = found
    points *= scale
    shares = [*map(float, model.explained_variance_ratio_), 0.0]
    return Placed(points, (shares[0], shares[1]))


def umap(vectors: np.ndarray, *, seed: int = 0) -> Placed:
    """UMAP by cosine, the same for the same seed on the same machine and versions.

    McInnes, Healy, Melville 2018, arXiv:1802.03426.

    Args:
        vectors: float32 `(vectors, d)`.
        seed: of all that is drawn.

    Raises:
        UsageError: umap-learn is not installed, or there are too few vectors for it.
    """
    model = umap_module()
    if len(vectors) <= NEIGHBOURS:
        raise UsageError(f"umap needs more than {NEIGHBOURS} clips, there are {len(vectors)}: use pca")
    reducer = model.UMAP(
        n_neighbors=NEIGHBOURS, metric="cosine", random_state=seed, n_jobs=1, low_memory=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of clips that are copies, of groups that nothing connects
        return Placed(reducer.fit_transform(_squarable(vectors)[0]).astype(np.float64), None)


def _squarable(vectors: np.ndarray) -> tuple[np.ndarray, float]:
    """(vectors whose squares are finite, what they have been divided by): 1 for those of any network."""
    largest = float(np.abs(vectors).max())
    return (vectors, 1.0) if largest < LARGEST else (vectors / np.float32(largest), largest)


def umap_module() -> Any:
    """umap-learn.

    Raises:
        UsageError: it is not installed.
    """
    find_numba_a_cache()
    # its package loads TensorFlow for a network that is not used here: seconds, and lines on the screen
    network = "umap.parametric_umap"
    hidden = network not in sys.modules
    if hidden:
        sys.modules[network] = None  # type: ignore[assignment]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import umap
    except ImportError:
        raise UsageError("umap needs umap-learn: pip install 'l3flow[umap]'") from None
    finally:
        if hidden:
            sys.modules.pop(network, None)
    return umap


METHODS: dict[str, Callable[..., Placed]] = {"pca": pca, "umap": umap}
