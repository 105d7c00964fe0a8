"""Pickled arrays: as Python 2 and 3 write them, and every file that wants more than to be read."""

import io
import os
import pickle
import struct

import numpy as np
import pytest

from l3core.errors import WeightsError
from l3core.pickled import read_pickled

ARRAYS = {
    "conv1": {
        "weights": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        "biases": np.zeros(300, ">f8"),
    },
    "more": {
        "half": np.float16([1, 2]),
        "fortran": np.asfortranarray(np.eye(3, 2)),
        "empty": np.zeros((0, 2)),
    },
    "plain": {"numbers": [1, 300, -70_000, 2**40, 1.5, True, None], "text": "ä" * 300, "pair": (1, "b")},
}
HEADER = np.lib.format.magic(1, 0)


def npy(pickled, descr="|O", shape="()"):
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return HEADER + struct.pack("<H", len(text)) + text.encode() + pickled


def read(pickled, **header):
    return read_pickled(npy(pickled, **header), name="x.npy")


def same(found, expected):
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        return all(same(found[key], expected[key]) for key in expected)
    if isinstance(expected, np.ndarray):
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        return np.array_equal(found, expected)
    return found == (list(expected) if isinstance(expected, tuple) else expected)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_what_python_3_writes(protocol):
    content = npy(pickle.dumps(np.array(ARRAYS, dtype=object), protocol=protocol))
    assert same(read_pickled(content, name="x.npy"), ARRAYS)


def test_what_numpy_writes():
    buffer = io.BytesIO()
    np.save(buffer, np.array(ARRAYS, dtype=object), allow_pickle=True)
    assert same(read_pickled(buffer.getvalue(), name="x.npy"), ARRAYS)


def of_python_2(array):
    """An array's instructions as cPickle of Python 2 writes them, with NumPy's names of that time."""
    shape = b"".join(b"K" + bytes([size]) for size in array.shape)
    content = array.tobytes()
    return (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87Rq\x03"
        b"(K\x01("
        + shape
        + b"tcnumpy\ndtype\nq\x04U\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<i", len(content)) + content + b"tb"
    )


def test_what_python_2_wrote():
    array = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    found = read(b"\x80\x02}q\x00U\x05conv1}U\x07weights" + of_python_2(array) + b"ss.")
    np.testing.assert_array_equal(found["conv1"]["weights"], array)
    assert same(pickle.loads(b"\x80\x02" + of_python_2(array) + b".", encoding="latin1"), array)


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_nothing_in_a_file_is_executed(tmp_path, protocol):
    trap = tmp_path / "sprung"
    for value in (Payload(str(trap)), {"conv1": Payload(str(trap))}, [np.zeros(2), Payload(str(trap))]):
        code = pickle.dumps(value, protocol=protocol)
        pickle.loads(code)
        trap.rmdir()  # the trap works
        with pytest.raises(WeightsError, match=r"x.npy is no .npy of arrays in dicts: it (names|uses)"):
            read(code)
        assert not trap.exists()


NUMBERS = b"(K\x01K\x02K\x03N"


@pytest.mark.parametrize(
    ("pickled", "problem"),
    [
        (b"\x80\x02cbuiltins\neval\nU\x011\x85R.", "names 'builtins.eval'"),
        (b"\x80\x02cnumpy\nfromfile\n.", "names 'numpy.fromfile'"),
        (b"\x80\x04\x8c\x05numpy\x8c\x03sum\x93.", "names 'numpy.sum'"),
        (b"\x80\x02cnumpy\nndarray\n.", "no value"),
        (b"\x80\x02c__builtin__\nbytes\nK\x07\x85R.", "makes bytes of something"),
        (b"\x80\x02cnumpy\nndarray\n)R.", "calls what cannot be called"),
        (b"\x80\x02U\x01a)R.", "calls what cannot be called"),
        (b"\x80\x02cnumpy\nndarray\n)\x81.", "uses NEWOBJ"),
        (b"\x80\x02(ios\nsystem\n.", "uses INST"),
        (b"\x80\x02U\x01aQ.", "uses BINPERSID"),
        (b"\x80\x02\x82\x01.", "uses EXT1"),
        (b"\x80\x02}(K\x01K\x01tb.", "a state is none"),
        (b"\x80\x02}" + NUMBERS + b"K\x01tb.", "state to what has none"),
        (b"\x80\x02}K\x01K\x02s.", "a key is no text"),
        (b"\x80\x02K\x01U\x01aK\x02s.", "no dict"),
        (b"\x80\x02K\x01K\x01a.", "no list"),
        (b"\x80\x02h\x07.", "7"),
        (b"\x80\x02t.", "mark"),
        (b"\x80\x02.", "pop"),
        (b"\x80\x02K\x01", "exhausted"),
        (b"", "exhausted"),
        (b"\x80\x02T\xff\xff\xff\x7fa.", "expected"),
        (b"\xff\xff", "unknown"),
        (b"\x80\x02cnumpy\ndtype\nK\x01\x85R.", "a type has no name"),
        (b"\x80\x02cnumpy\ndtype\n(tR.", "argument"),
        (b"\x80\x02c_codecs\nencode\nU\x01aU\x03hex\x86R.", "encodes what is no text"),
    ],
)
def test_what_is_refused(pickled, problem):
    with pytest.raises(WeightsError, match=rf"x.npy is no .npy of arrays in dicts: .*({problem})"):
        read(pickled)


def nested(count):
    """Lists, each ten times in the next: no memory holds the text of the last."""
    lists = b"]q\x00" + b"".join(
        b"](" + 10 * (b"h" + bytes([n])) + b"eq" + bytes([n + 1]) for n in range(count)
    )
    return b"\x80\x04" + lists


@pytest.mark.parametrize(
    "pickled",
    [nested(30) + b"\x8c\x01a\x93.", b"\x80\x04\x8c\x05numpyK\x01\x93."],
)
def test_a_name_is_text(pickled):
    with pytest.raises(WeightsError, match="a name is no text"):
        read(pickled)


def test_a_text_becomes_bytes_once():
    """A file of some megabytes could ask for hundreds of gigabytes."""
    text = b"X" + (5_000).to_bytes(4, "little") + 5_000 * b"a" + b"q\x00"
    call = b"c_codecs\nencode\nh\x00U\x06latin1\x86R"
    assert read(b"\x80\x02" + text + call + b".") == 5_000 * b"a"
    with pytest.raises(WeightsError, match="the same text into bytes again and again"):
        read(b"\x80\x02" + text + 20 * call + b".")
    numbers = of_python_2(np.zeros((20, 25), np.float32))
    assert read(b"\x80\x02" + numbers + b".").shape == (20, 25)


def test_arrays_that_are_none():
    good = of_python_2(np.zeros((2, 3), np.float32))
    for edit, problem in {
        (b"K\x02K\x03t", b"K\xffK\xfft"): "has 24 bytes",
        (b"K\x02K\x03t", b"K\x02Nt"): "no shape",
        (b"U\x02f4", b"U\x02V4"): "of type 'V4'",
        (b"U\x02f4", b"U\x02O8"): "many objects",
        (b"U\x01<N", b"U\x01?N"): "unknown order",
        (b"\x89T", b"\x89(T"): "of type|mark|state",
    }.items():
        broken = good.replace(*edit)
        assert broken != good
        with pytest.raises(WeightsError, match=problem):
            read(b"\x80\x02" + broken + b".")


def test_other_npy_files():
    for content in (
        b"",
        b"<html>",
        npy(b"")[:40],
        npy(b"K\x01.", descr="<f4"),
        npy(b"K\x01.", shape="(3,)"),
    ):
        with pytest.raises(WeightsError, match=r"x\.npy is no \.npy"):
            read_pickled(content, name="x.npy")


def test_what_is_nested_many_times_is_read_once():
    """40 lists, each of them twice in the next, would be a million million."""
    lists = b"]q\x00" + b"".join(
        b"](h" + bytes([n]) + b"h" + bytes([n]) + b"eq" + bytes([n + 1]) for n in range(40)
    )
    found = read(b"\x80\x02" + lists + b".")
    assert found[0] is found[1]
    assert read(b"\x80\x02]q\x00h\x00a.") == [None]  # what holds itself
