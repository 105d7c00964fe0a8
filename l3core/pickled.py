"""Arrays in an .npy that holds Python objects, without unpickling it.

`numpy.save` of a dict writes a pickle, a small program that can call anything. Here it is read as data:
the few instructions that dicts, lists, texts, numbers and arrays of floats are made of, and the names
that NumPy's own arrays need, none of which is called. Whatever else a file asks for is refused.
"""

import io
import math
import pickletools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from l3core.errors import WeightsError
from l3core.npy import read_header

_MARK = object()
_CODES = ("f2", "f4", "f8")
_ORDERS = ("<", ">", "=", "|")


class _RefusedError(ValueError):
    """What a file should not hold."""


class _Name(str):
    """Something that the pickle names, to call it."""


class _Dtype:
    """A type that is being described."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.order = "="


class _Array:
    """An array that is being described; `value` is it, or the object that an array of objects has."""

    def __init__(self) -> None:
        self.value: Any = None


def read_pickled(content: bytes, *, name: str) -> Any:
    """What an .npy with one object holds: dicts, lists, tuples, texts, numbers, and arrays of floats.

    Args:
        content: of the file.
        name: of the file, for people.

    Raises:
        WeightsError: it is no such file, or holds anything else.
    """
    try:
        return _plain(_Reader().read(_pickle_of(content)), {})
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError) as error:
        raise WeightsError(f"{name} is no .npy of arrays in dicts: {error}") from None


def _pickle_of(content: bytes) -> bytes:
    file = io.BytesIO(content)
    shape, _, dtype = read_header(file)
    if shape != () or not dtype.hasobject:
        raise _RefusedError(f"it holds an array of {dtype} {shape}, not one object")
    return file.read()


class _Reader:
    """A pickle's stack and memory."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memory: dict[Any, Any] = {}
        self._left = 0  # bytes that texts may still become

    def read(self, pickled: bytes) -> Any:
        self._left = len(pickled)
        for instruction, argument, _ in pickletools.genops(pickled):
            name = instruction.name
            if name == "STOP":
                return self._stack.pop()
            if name in _VALUES:
                self._stack.append(argument)
            elif name in _CONSTANTS:
                self._stack.append(_CONSTANTS[name]())
            elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
                place = len(self._memory) if argument is None else argument
                self._memory[place] = self._stack[-1]
            elif name in ("BINGET", "LONG_BINGET"):
                self._stack.append(self._memory[argument])
            elif name in _STEPS:
                _STEPS[name](self, argument)
            elif name not in ("PROTO", "FRAME"):
                raise _RefusedError(f"it uses {name}, which no array needs")
        raise _RefusedError("it has no end")

    def _marked(self) -> list[Any]:
        """What lies above the last mark; both are taken off."""
        place = len(self._stack) - 1
        while place >= 0 and self._stack[place] is not _MARK:
            place -= 1
        if place < 0:
            raise _RefusedError("it lacks a mark")
        items = self._stack[place + 1 :]
        del self._stack[place:]
        return items

    def _tuple(self, items: Sequence[Any]) -> None:
        self._stack.append(tuple(items))

    def _tuple_of(self, count: int) -> None:
        if len(self._stack) < count:
            raise _RefusedError("its stack is too short")
        items = self._stack[len(self._stack) - count :]
        del self._stack[len(self._stack) - count :]
        self._tuple(items)

    def _set(self, items: Sequence[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise _RefusedError("it sets items of what is no dict")
        for key, value in zip(items[::2], items[1::2]):
            if not isinstance(key, str) or isinstance(key, _Name):
                raise _RefusedError("a key is no text")
            target[key] = value

    def _extend(self, items: Sequence[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise _RefusedError("it appends to what is no list")
        target += items

    def _name(self, name: str) -> None:
        if name not in _CALLED and name != "numpy.ndarray":
            raise _RefusedError(f"it names {name[:80]!r}, which no array needs")
        self._stack.append(_Name(name))

    def _call(self) -> None:
        arguments, called = self._stack.pop(), self._stack.pop()
        if not isinstance(called, _Name) or called not in _CALLED:
            raise _RefusedError("it calls what cannot be called")
        if not isinstance(arguments, tuple):
            raise _RefusedError("it calls with what is no tuple")
        self._stack.append(_CALLED[called](*arguments))
        if isinstance(self._stack[-1], bytes):
            self._made(len(self._stack[-1]))

    def _made(self, size: int) -> None:
        """Count what a text became: a file that has each text once makes no more than it holds."""
        self._left -= size
        if self._left < 0:
            raise _RefusedError("it makes the same text into bytes again and again")

    def _build(self) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if not isinstance(state, tuple) or len(state) < 5:
            raise _RefusedError("a state is none of an array's")
        if isinstance(target, _Dtype):
            if state[1] not in _ORDERS:
                raise _RefusedError("a type has an unknown order of bytes")
            target.order = state[1]
        elif isinstance(target, _Array):
            if isinstance(state[4], str):
                self._made(len(state[4]))
            target.value = _value(*state[1:5])
        else:
            raise _RefusedError("it gives a state to what has none")


def _value(shape: Any, dtype: Any, by_columns: Any, content: Any) -> Any:
    """An array of floats, or the one object of an array of objects."""
    whole = isinstance(shape, tuple) and all(type(size) is int and size >= 0 for size in shape)
    if not whole or not isinstance(dtype, _Dtype):
        raise _RefusedError("an array has no shape, or no type")
    if dtype.code.startswith("O"):
        if shape != () or not isinstance(content, list) or len(content) != 1:
            raise _RefusedError("an array has many objects")
        return content[0]
    if isinstance(content, str):  # of Python 2
        content = content.encode("latin-1")
    if dtype.code not in _CODES or not isinstance(content, bytes):
        raise _RefusedError(f"an array is of type {dtype.code[:20]!r}")
    kind = np.dtype(dtype.order + dtype.code)
    if len(content) != math.prod(shape) * kind.itemsize:
        raise _RefusedError(f"an array of shape {shape} has {len(content)} bytes")
    return np.frombuffer(content, kind).reshape(shape, order="F" if by_columns else "C")


def _dtype(code: Any, *_: Any) -> _Dtype:
    if not isinstance(code, str):
        raise _RefusedError("a type has no name")
    return _Dtype(code)


def _encode(text: Any, encoding: Any) -> bytes:
    """How Python 3 writes bytes for Python 2."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise _RefusedError("it encodes what is no text")
    return text.encode("latin-1")


def _joined(parts: Sequence[Any]) -> str:
    """The name that two texts mean; of a list of lists of lists even the text has no end."""
    if not all(type(part) is str for part in parts):
        raise _RefusedError("a name is no text")
    return ".".join(parts)


def _nothing(given: tuple[Any, ...]) -> bytes:
    """How Python 3 writes no bytes for Python 2."""
    if given:
        raise _RefusedError("it makes bytes of something")
    return b""


def _plain(value: Any, done: dict[int, Any]) -> Any:
    """What was read, with arrays in the place of their descriptions.

    Args:
        value: of a reader.
        done: containers that were met already, by their `id`: a few bytes can nest one many times.
    """
    if isinstance(value, _Name | _Dtype) or value is _MARK:
        raise _RefusedError("something in it is no value")
    if not isinstance(value, _Array | dict | list | tuple):
        return value
    if id(value) not in done:
        done[id(value)] = None  # what holds itself is nothing there
        if isinstance(value, _Array):
            done[id(value)] = _plain(value.value, done)
        elif isinstance(value, dict):
            done[id(value)] = {key: _plain(each, done) for key, each in value.items()}
        else:
            done[id(value)] = [_plain(each, done) for each in value]
    return done[id(value)]


# Instructions whose argument is a value: numbers, texts and bytes.
_VALUES = (
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("BINSTRING", "SHORT_BINSTRING", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
)
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "MARK": lambda: _MARK,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
_CALLED: dict[str, Callable[..., Any]] = {
    "numpy.core.multiarray._reconstruct": lambda *_: _Array(),
    "numpy._core.multiarray._reconstruct": lambda *_: _Array(),
    "numpy.dtype": _dtype,
    "_codecs.encode": _encode,
    "__builtin__.bytes": lambda *given: _nothing(given),
}
_STEPS: dict[str, Callable[[_Reader, Any], None]] = {
    "TUPLE": lambda reader, _: reader._tuple(reader._marked()),
    "TUPLE1": lambda reader, _: reader._tuple_of(1),
    "TUPLE2": lambda reader, _: reader._tuple_of(2),
    "TUPLE3": lambda reader, _: reader._tuple_of(3),
    "SETITEMS": lambda reader, _: reader._set(reader._marked()),
    "SETITEM": lambda reader, _: reader._set([reader._stack.pop(), reader._stack.pop()][::-1]),
    "APPENDS": lambda reader, _: reader._extend(reader._marked()),
    "APPEND": lambda reader, _: reader._extend([reader._stack.pop()]),
    "GLOBAL": lambda reader, name: reader._name(str(name).replace(" ", ".")),
    "STACK_GLOBAL": lambda reader, _: reader._name(
        _joined((reader._stack.pop(), reader._stack.pop())[::-1])
    ),
    "REDUCE": lambda reader, _: reader._call(),
    "BUILD": lambda reader, _: reader._build(),
}
