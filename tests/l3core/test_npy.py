"""Headers of .npy files: those that NumPy writes, and what is none."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l3core.errors import WeightsError
from l3core.npy import read_header
from l3core.pickled import read_pickled

GOOD = "{'descr': '|O', 'fortran_order': False, 'shape': (), }"


def npy(header, version=1):
    encoded = header.encode("latin-1")
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(encoded)) + encoded


@pytest.mark.parametrize("array", [np.zeros((3, 0)), np.float32(1), np.asfortranarray(np.eye(3, 2))])
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_what_numpy_writes_is_read(array, version):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asanyarray(array), version=version)
    file.seek(0)
    by_columns = array.ndim > 1 and not array.flags.c_contiguous
    assert read_header(file) == (array.shape, by_columns, array.dtype)
    assert file.read() == array.tobytes(order="A")


def test_what_python_2_wrote_is_read():
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (10L, 3L), }"
    assert read_header(io.BytesIO(npy(header))).shape == (10, 3)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMP",
        b"<html>404</html>",
        b"\x93NUMPY",
        npy(GOOD)[:-1],
        npy(GOOD, version=3),
        npy(GOOD[:-3]),  # a bracket that is not closed: an error of Python's tokenizer
        npy("(" * 5_000),
        npy("[" * 3_000 + "]" * 3_000),
        npy("-" * 5_000 + "1"),
        npy("'''"),
        npy("\x00"),
        npy("9" * 5_000),
        npy(GOOD.replace("|O", ",O")),  # a syntax error
        npy(GOOD.replace("'|O'", "{'names': 1}")),
        npy("{1: 2, 'a': 3}"),
        npy("1"),
    ],
)
def test_what_is_none_is_a_short_error(content):
    with pytest.raises(ValueError, match=r"^its header: ") as caught:
        read_header(io.BytesIO(content))
    assert len(str(caught.value)) < 140
    assert "\n" not in str(caught.value)
    with pytest.raises(WeightsError, match=r"w.npy is no .npy of arrays in dicts: its header"):
        read_pickled(content, name="w.npy")


@given(
    st.text(st.characters(max_codepoint=255), max_size=40), st.integers(0, len(GOOD)), st.integers(0, 9)
)
def test_any_header_is_read_or_an_error(text, place, cut):
    try:
        problem = ""
        read_header(io.BytesIO(npy(GOOD[:place] + text + GOOD[place + cut :])))
    except ValueError as error:
        problem = str(error)
    assert "\n" not in problem
