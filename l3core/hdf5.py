"""HDF5 of somebody else: read only where all that it holds is in the file itself, and not too much.

HDF5 can name other files, and its library opens whatever they are: by external links, by virtual
datasets, and by raw data that lies "elsewhere". A weights file that does would put somebody's files into
weights that are then exported. And a few bytes can claim an array of any shape.
"""

from collections.abc import Iterator
from math import prod

import h5py

# The largest network that is planned (VGGish) has 290 MB of weights; far beyond is no weights file.
MAX_BYTES = 2**30


class UnsafeHdf5Error(ValueError):
    """A file names others, or claims to hold more than it may."""


def check_contained(file: h5py.File) -> None:
    """Hold that a file's arrays are numbers, in the file, and not too many; none of them is read.

    Raises:
        UnsafeHdf5Error: with the first that is not.
    """
    total = 0
    for name, dataset in _datasets(file):
        total += claimed_bytes(name, dataset)
        if total > MAX_BYTES:
            raise UnsafeHdf5Error(f"it claims more than {MAX_BYTES >> 20} MiB")


def held(group: h5py.Group, path: str) -> h5py.Group | h5py.Dataset:
    """What is at a path of a group, if no link on the way leads to anything else.

    Raises:
        KeyError: there is nothing.
        UnsafeHdf5Error: there is a link.
    """
    found = group
    for name in filter(None, path.split("/")):
        link = found.get(name, getlink=True) if isinstance(found, h5py.Group) else None
        if link is None:
            raise KeyError(path)
        if not isinstance(link, h5py.HardLink):
            raise UnsafeHdf5Error(f"{path} is a link")
        found = found[name]
    return found


def claimed_bytes(name: str, dataset: h5py.Dataset) -> int:
    """What an array takes in memory, as float32 or as it is; it is not read.

    Raises:
        UnsafeHdf5Error: it is not of numbers, not in the file, or too large.
    """
    if dataset.external or dataset.is_virtual:
        raise UnsafeHdf5Error(f"{name} lies in another file")
    if dataset.dtype.kind not in "biuf" or dataset.dtype.hasobject:
        raise UnsafeHdf5Error(f"{name} holds something else than numbers")
    size = max(dataset.size or 0, prod(dataset.chunks or ()))  # a chunk is unpacked whole
    size *= max(dataset.dtype.itemsize, 4)
    if size > MAX_BYTES:
        raise UnsafeHdf5Error(f"{name} claims more than {MAX_BYTES >> 20} MiB")
    return int(size)


def _datasets(file: h5py.File) -> Iterator[tuple[str, h5py.Dataset]]:
    """All datasets by the links that lead to them; one with several names counts as often."""
    waiting = [("", file["/"], frozenset[int]())]
    while waiting:
        path, group, above = waiting.pop()
        for name in group:
            here = f"{path}/{name}"
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise UnsafeHdf5Error(f"{here} is a link")
            found = group[name]
            if isinstance(found, h5py.Dataset):
                yield here, found
            elif isinstance(found, h5py.Group):
                address = h5py.h5o.get_info(found.id).addr
                if address in above or len(above) > 64:
                    raise UnsafeHdf5Error(f"{here} holds itself")
                waiting.append((here, found, above | {address}))
