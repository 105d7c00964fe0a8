"""Where clips lie: scikit-learn's components, and what UMAP keeps together."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.decomposition import PCA

from l3core.errors import UsageError
from l3core.maps.placing import pca, umap


def two_kinds(count, size, apart=8.0):
    """Vectors around two centres, alternating."""
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((2, size)) * apart
    vectors = centres[np.arange(count) % 2] + generator.standard_normal((count, size))
    return vectors.astype(np.float32)


def separation(points):
    """Distance of the two kinds' centres, in the larger of their radii."""
    kinds = points[::2], points[1::2]
    centres = [kind.mean(axis=0) for kind in kinds]
    radii = [np.linalg.norm(kind - centre, axis=1).max() for kind, centre in zip(kinds, centres)]
    return np.linalg.norm(centres[0] - centres[1]) / max(radii)


@pytest.mark.parametrize("shape", [(300, 64), (30, 512), (7, 3), (5, 2), (3, 40)])
def test_components_are_those_of_scikit_learn(shape):
    """Of the whole decomposition in float64, up to the sign of each axis."""
    vectors = (np.random.default_rng(1).standard_normal(shape) * np.arange(1, shape[1] + 1)).astype("f4")
    expected = PCA(2, svd_solver="full").fit(vectors.astype(float))
    points = expected.transform(vectors.astype(float))
    found = pca(vectors)
    signs = np.sign((found.points * points).sum(axis=0))
    np.testing.assert_allclose(found.points * signs, points, atol=2e-4 * np.abs(points).max())
    np.testing.assert_allclose(found.variance, expected.explained_variance_ratio_, rtol=1e-4)


@pytest.mark.parametrize("seed", [1, 2])
def test_components_do_not_depend_on_the_seed(seed):
    vectors = two_kinds(50, 20)
    np.testing.assert_allclose(pca(vectors, seed=seed).points, pca(vectors).points, atol=1e-3)


@pytest.mark.parametrize("place", [pca, umap])
def test_numbers_whose_squares_are_infinite_have_a_place(place):
    """As a scratched file holds them, and nobody's network makes."""
    vectors = two_kinds(40, 20)
    found = place(vectors * np.float32(1e37))
    assert np.isfinite(found.points).all()
    assert separation(found.points) > 1.5
    if place is pca:
        plain = pca(vectors)
        np.testing.assert_allclose(np.abs(found.points) / 1e37, np.abs(plain.points), atol=1e-3)
        np.testing.assert_allclose(found.variance, plain.variance, rtol=1e-4)


@pytest.mark.parametrize("vectors", [np.ones((1, 8)), np.ones((5, 8)), np.zeros((4, 1))])
def test_what_has_no_components_is_one_point(vectors):
    found = pca(vectors.astype(np.float32))
    assert found.points.tolist() == [[0.0, 0.0]] * len(vectors)
    assert found.variance == (0.0, 0.0)


def test_two_clips_lie_on_a_line():
    found = pca(np.array([[0, 0, 0], [3, 0, 4]], np.float32))
    assert np.ptp(found.points, axis=0) == pytest.approx([5.0, 0.0], abs=1e-5)
    assert found.variance == pytest.approx((1.0, 0.0))


def test_kinds_are_apart_with_pca():
    assert separation(pca(two_kinds(60, 32)).points) > 3


def test_kinds_are_apart_with_umap_and_it_gives_the_same_again():
    vectors = two_kinds(80, 32)
    first = umap(vectors, seed=3)
    assert first.points.shape == (80, 2)
    assert first.variance is None
    assert separation(first.points) > 3
    assert np.array_equal(umap(vectors, seed=3).points, first.points)
    with pytest.raises(UsageError, match="umap needs more than 15 clips, there are 15: use pca"):
        umap(vectors[:15])


def test_umap_loads_no_tensorflow_and_prints_nothing():
    code = (
        "import sys; from l3core.maps.placing import umap_module; umap_module();"
        "assert not {'tensorflow', 'umap.parametric_umap'} & {*sys.modules}"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", code], capture_output=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_without_umap_there_is_the_command_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(UsageError, match=r"umap needs umap-learn: pip install 'l3flow\[umap\]'"):
        umap(two_kinds(30, 4))
