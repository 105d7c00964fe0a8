"""Headers of .npy files, which are a Python literal: whatever a file has there is an error at most."""

import tokenize
import warnings
from typing import BinaryIO, NamedTuple

import numpy as np

_ERRORS = (ValueError, TypeError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError)
LONGEST_PROBLEM = 120  # NumPy cites the header, which may have 10,000 letters


class Header(NamedTuple):
    """What an .npy says of its array.

    Attributes:
        shape: of the array.
        by_columns: whether the first index is the fastest.
        dtype: of its numbers.
    """

    shape: tuple[int, ...]
    by_columns: bool
    dtype: np.dtype


def read_header(file: BinaryIO) -> Header:
    """The header of an .npy, whose numbers come next.

    Raises:
        ValueError: it is none; NumPy's own errors are of more kinds.
    """
    try:
        if file.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
            raise ValueError("it does not begin as one")
        file.seek(-len(np.lib.format.MAGIC_PREFIX), 1)
        version = np.lib.format.read_magic(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what Python 2 has written
            if version == (1, 0):
                return Header(*np.lib.format.read_array_header_1_0(file))
            if version == (2, 0):
                return Header(*np.lib.format.read_array_header_2_0(file))
        raise ValueError(f"its format is of version {version}")
    except _ERRORS as error:
        problem = " ".join(str(error).split())
        raise ValueError(f"its header: {problem[:LONGEST_PROBLEM]}") from None
