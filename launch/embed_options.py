"""What the options of `l3flow embed` mean: its inputs, its weights, its root and its rules."""

import argparse
from collections.abc import Iterator, Sequence
from itertools import islice

from l3core import storage
from l3core.containment import contained
from l3core.errors import TableError, UsageError
from l3core.listing import ListFile, Pattern, common_root, list_inputs, parse_input
from l3core.spec import EmbeddingSpec
from l3core.storage import StoredObject
from l3core.table.delta import Rules
from l3core.table.layout import TablePaths
from l3core.table.ledger import read_known
from l3core.table.limits import Limits
from l3core.table.state import TableState
from l3core.weights import Weights, load_weights
from launch.options import naming


def open_inputs(
    args: argparse.Namespace, paths: TablePaths, spec: EmbeddingSpec
) -> tuple[list[Pattern | ListFile], Weights]:
    """The inputs and the weights that the options name."""
    with naming("--input"):
        inputs = [parse_input(text) for text in args.input]
    if not storage.is_folder_or_absent(paths.root):
        raise UsageError(f"--output {args.output} is a file; a table needs a folder")
    return inputs, load_weights(spec)


def check_there(
    args: argparse.Namespace,
    paths: TablePaths,
    state: TableState,
    inputs: Sequence[Pattern | ListFile],
    fingerprint: str,
) -> None:
    """Refuse inputs that cannot be there: misspelt ones, or a folder that is not mounted tonight.

    A file or folder that is spelt out and was embedded before is gone, and no error.
    """
    for each in inputs:
        if args.allow_empty or not isinstance(each, Pattern) or each.is_there:
            continue
        ledger = read_known(paths, state.ledger(fingerprint)) if each.spelt_out else ()
        if not any(each.names(row.uri) for row in ledger):
            raise UsageError(
                f"--input {each.text}: there is no {each.needed}; --allow-empty makes that no error"
            )


def rules_of(args: argparse.Namespace, inputs: Sequence[Pattern | ListFile]) -> Rules:
    """What is embedded again, tried again and dropped."""

    def named(uri: str) -> bool:
        return any(each.names(uri) for each in inputs)

    return Rules(
        named=named if args.limit is None else None,  # else the listing is not complete
        full=args.full,
        retry_unreadable=args.retry_unreadable,
        verify_content=args.verify_content,
        prune=args.prune,
    )


def limits_of(args: argparse.Namespace) -> Limits:
    """With how much the run stops."""
    return Limits(
        allow_shrink=args.allow_shrink,
        max_rewrite=args.max_rewrite,
        max_storage_errors=args.max_storage_errors,
        max_unreadable=args.max_unreadable,
    )


def listing_of(
    args: argparse.Namespace, inputs: Sequence[Pattern | ListFile], paths: TablePaths
) -> Iterator[StoredObject]:
    """The input; a table that lies among it is none of it."""
    own = paths.root + "/"
    found = (each for each in list_inputs(inputs, paths.root) if not each.uri.startswith(own))
    root = _given_root(args)
    return islice(found if root is None else contained(found, root), args.limit)


def root_of(
    args: argparse.Namespace,
    paths: TablePaths,
    state: TableState,
    inputs: Sequence[Pattern | ListFile],
) -> str:
    """What clip ids are paths below.

    Raises:
        UsageError: the table has another.
        TableError: it has lost its journal.
    """
    given = _given_root(args)
    if state.root is None:
        if storage.is_object(paths.table):
            raise TableError(
                f"{paths.root} has a table.json and no journal: restore its _l3flow folder "
                "from where it was copied, or name another --output"
            )
        return common_root(inputs) if given is None else given
    if given is not None and given != state.root:
        raise UsageError(f"--root {given}: this table's root is {state.root}, and a table has one")
    return state.root


def _given_root(args: argparse.Namespace) -> str | None:
    with naming("--root"):
        return storage.absolute_folder(args.root) if args.root else None
