"""This machine against what upstream computed."""

import numpy as np
import pytest

from l3core.upstream import SPECS, VECTORS, deviation_from_upstream


@pytest.mark.parametrize("name", SPECS)
def test_this_machine_computes_what_upstream_did(name):
    assert deviation_from_upstream(name).value < 1e-5


def test_each_vector_was_made_by_upstream_and_has_its_spec():
    with np.load(VECTORS) as upstream:
        shapes = {name: array.shape for name, array in upstream.items()}
    assert shapes.pop("edgel3-sea-64/signal") == (12_000,)
    assert shapes == {name: (2, spec.size) for name, spec in SPECS.items()}
