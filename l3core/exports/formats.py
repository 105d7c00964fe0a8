"""What all formats share: what is exported, and the note that is left beside it.

An export is a folder with a table `windows`, a table `clips`, and `l3flow.json`: what they were made of.
Only files of the published commit go into it. Exporting again adds the files that are new and takes out
those that the table no longer has.
"""

import json
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import pyarrow as pa

from l3core import storage
from l3core.errors import UsageError
from l3core.table.json_objects import read_json
from l3core.table.layout import LEDGER_SCHEMA, TablePaths, windows_schema
from l3core.table.row_groups import opened, vector_size
from l3core.table.state import TableState

NOTE = "l3flow.json"


class Part(NamedTuple):
    """A table to make.

    Attributes:
        name: windows or clips.
        schema: its columns.
        files: name of a file -> where it lies.
    """

    name: str
    schema: pa.Schema
    files: dict[str, str]


class Target(NamedTuple):
    """Where to.

    Attributes:
        uri: of the folder.
        catalog: of Iceberg, as its library's configuration calls it; None for one in the folder.
        namespace: of Iceberg.
        before: part -> names of the files that the last export was made of.
    """

    uri: str
    catalog: str | None
    namespace: str
    before: dict[str, list[str]]


class Exported(NamedTuple):
    """What became of a part.

    Attributes:
        part: windows or clips.
        added: files that are new.
        removed: files that went.
        files: that it is made of now.
    """

    part: str
    added: int
    removed: int
    files: int


class Format(NamedTuple):
    """How a format is written.

    Attributes:
        module: has `write(part, target) -> Exported`.
        needs: the package that it needs.
    """

    module: str
    needs: str


FORMATS = {
    "iceberg": Format("l3core.exports.iceberg", "pyiceberg"),
    "delta": Format("l3core.exports.delta", "deltalake"),
    "lance": Format("l3core.exports.lance", "lance"),
}


def export(
    paths: TablePaths,
    state: TableState,
    spec: str,
    *,
    to: str,
    uri: str,
    catalog: str | None = None,
    namespace: str = "l3flow",
) -> list[Exported]:
    """Make an export, or bring one up to date.

    Args:
        paths: of the table.
        state: of the table, published.
        spec: fingerprint.
        to: one of `FORMATS`.
        uri: folder of the export.
        catalog: of Iceberg, as its library's configuration calls it; None for one in the folder.
        namespace: of Iceberg.

    Raises:
        UsageError: the format's package is missing, something else is there, or nothing can be written.
        TableError: the spec has no windows.
        DamagedError: a file that is new to the export cannot be read.
        FileNotFoundError: a later commit has taken a file away, or it is missing.
    """
    form = FORMATS[to]
    if find_spec(form.needs) is None:
        raise UsageError(f"{to} needs a package that is not here: pip install 'l3flow[{to}]'")
    made_of = {"format": to, "table": paths.root, "spec": spec}
    before = _check_note(uri, made_of)
    target = Target(uri, catalog, namespace, before.get("files", {}))
    schema = windows_schema(vector_size(paths, state, spec))
    parts = [
        Part("windows", schema, _files(paths, state.windows(spec))),
        Part("clips", LEDGER_SCHEMA, _files(paths, state.ledger(spec))),
    ]
    for part, found in zip(parts, (state.windows(spec), state.ledger(spec)), strict=True):
        known = set(target.before.get(part.name, ()))
        for path in found:
            if _name(path) not in known:
                with opened(paths, state, path):  # each library has words of its own, without the name
                    pass
    if not before:  # nor does each say in a line that it cannot write there
        try:
            storage.write_bytes(storage.join(uri, NOTE), json.dumps(made_of | {"files": {}}).encode())
        except OSError as error:
            raise UsageError(f"{uri}: cannot write there: {error.strerror or error}") from None
    write = import_module(form.module).write
    done = [write(part, target) for part in parts]
    note = made_of | {
        "commit": state.commits,
        "files": {part.name: sorted(part.files) for part in parts},
    }
    storage.write_bytes(storage.join(uri, NOTE), json.dumps(note, indent=1).encode())
    return done


def _files(paths: TablePaths, found: list[str]) -> dict[str, str]:
    return {_name(path): paths.at(path) for path in found}


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _check_note(uri: str, made_of: dict[str, str]) -> dict[str, Any]:
    """The note of the last export; nothing for none.

    Raises:
        UsageError: it is an export of something else, or the folder is somebody else's.
    """
    place = storage.join(uri, NOTE)
    if not storage.is_object(place):
        # an export that was cut off before its note was written goes on
        if storage.exists(uri) and not _only_ours(uri):
            raise UsageError(f"{uri} has other things in it, and no {NOTE}: name an empty folder")
        return {}
    note = read_json(place)
    for name, value in made_of.items():
        if note.get(name) != value:
            raise UsageError(
                f"{uri} holds the {name} {note.get(name)}, not {value}: name another folder"
            )
    return note


def _only_ours(uri: str) -> bool:
    names = {name.partition("/")[0] for name in storage.sizes_below(uri)}
    return names <= {"windows", "clips", "catalog.db", "windows.lance", "clips.lance"}
