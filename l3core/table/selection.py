"""Which windows are asked for: of some clips, or where something holds of them or of their clips."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from l3core.errors import TableError
from l3core.storage import as_text
from l3core.table.layout import LEDGER_SCHEMA, TablePaths, windows_schema
from l3core.table.row_groups import OpenFile, groups_with, opened
from l3core.table.state import TableState

METADATA = ("clip_id", "window", "start_s", "silent")
METADATA_SCHEMA = pa.schema([windows_schema(1).field(name) for name in METADATA])
LEDGER = tuple(name for name in LEDGER_SCHEMA.names if name not in ("clip_id", "files"))
# What `where` may speak of: the windows, and their clips as the ledger has them.
ASKABLE = pa.schema([*METADATA_SCHEMA, *(LEDGER_SCHEMA.field(name) for name in LEDGER)])
_ROW = "row number"


@dataclass(frozen=True)
class Selection:
    """Some columns of some windows.

    Attributes:
        columns: of `METADATA`, those that are returned.
        clips: sorted ids; None for all.
        where: over the columns of `ASKABLE`; None for all.
        named: columns that `where` speaks of.
    """

    columns: tuple[str, ...]
    clips: pa.Array | None
    where: pc.Expression | None
    named: frozenset[str]

    @property
    def everything(self) -> bool:
        """Whether it is all rows."""
        return self.clips is None and self.where is None

    @property
    def read(self) -> list[str]:
        """Columns of a windows file that are needed, the vectors apart."""
        asked = self.named | {*self.columns}
        if self.clips is not None or self.named & {*LEDGER}:
            asked |= {"clip_id"}
        return [name for name in METADATA if name in asked]

    def ledger(self, paths: TablePaths, state: TableState, fingerprint: str) -> pa.Table | None:
        """What `where` needs of the ledger: `clip_id` and some columns; None if it needs nothing."""
        names = [name for name in LEDGER if name in self.named]
        if not names:
            return None
        parts = [pa.schema([LEDGER_SCHEMA.field(name) for name in ("clip_id", *names)]).empty_table()]
        for path in state.ledger(fingerprint):
            with opened(paths, state, path) as ledger:
                parts.append(ledger.parquet.read(["clip_id", *names]))
        return pa.concat_tables(parts)

    def groups(self, windows: OpenFile) -> list[int]:
        """Row groups of a windows file that may hold such windows, by their statistics."""
        groups = groups_with(windows.parquet, self.clips)
        if self.where is None or not groups:
            return groups
        import pyarrow.dataset as ds  # brings pandas along, where it is installed

        fragment = ds.ParquetFileFormat().make_fragment(windows.file, row_groups=groups)
        return [group.id for group in fragment.subset(self.where, schema=ASKABLE).row_groups]

    def kept(self, rows: pa.Table | pa.RecordBatch, ledger: pa.Table | None) -> np.ndarray | None:
        """Places of the rows that are asked for, int64, ascending; None if all of them are.

        Args:
            rows: with the columns `read`.
            ledger: from `ledger`.
        """
        if self.everything:
            return None
        columns = {name: rows[name] for name in rows.schema.names if name in METADATA}
        numbered = pa.table(columns | {_ROW: np.arange(len(rows))})
        if self.clips is not None:
            numbered = numbered.filter(pc.is_in(numbered["clip_id"], self.clips))
        if ledger is not None:
            place = pc.index_in(numbered["clip_id"], ledger["clip_id"])
            for name in ledger.column_names[1:]:
                numbered = numbered.append_column(name, ledger[name].take(place))
        if self.where is not None:
            numbered = numbered.filter(self.where)
        return None if len(numbered) == len(rows) else numbered[_ROW].to_numpy()


def select(
    columns: str | Sequence[str] | None,
    clips: str | Sequence[str] | None,
    where: pc.Expression | Sequence[Any] | None,
) -> Selection:
    """What a caller asks for, checked; arguments as of `l3core.table.read.read_windows`.

    Raises:
        TableError: columns that windows do not have, or a condition that cannot be evaluated.
    """
    names = METADATA if columns is None else tuple(_listed(columns))
    if unknown := [name for name in names if name not in METADATA]:
        raise TableError(f"columns must be of {', '.join(METADATA)}, got {', '.join(unknown)}")
    wanted = None if clips is None else pa.array(sorted({*map(as_text, _listed(clips))}), pa.string())
    expression = None if where is None else _expression(where)
    return Selection(names, wanted, expression, _named(expression))


def _listed(names: str | Sequence[str]) -> list[str]:
    """One name, or several."""
    return [names] if isinstance(names, str) else list(names)


def _expression(where: pc.Expression | Sequence[Any]) -> pc.Expression:
    if isinstance(where, pc.Expression):
        return where
    try:
        return pq.filters_to_expression(where)
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise TableError(
            "where must be an expression, as pyarrow.compute.field('silent') == False, or a list as "
            f"[('start_s', '>=', 1.0)], got {where!r}: {error}"
        ) from None


def _named(where: pc.Expression | None) -> frozenset[str]:
    """Columns that a condition speaks of: those without which it cannot be evaluated.

    Raises:
        TableError: it speaks of others, or compares what cannot be compared.
    """
    if where is None:
        return frozenset()
    nothing = ASKABLE.empty_table()
    try:
        nothing.filter(where)
    except (pa.ArrowException, NotImplementedError, TypeError) as error:
        problem = str(error).splitlines()[0]
        raise TableError(
            f"where cannot be evaluated: {problem}. Columns are {', '.join(METADATA)} and, of the "
            f"clip's ledger row, {', '.join(LEDGER)}"
        ) from None
    return frozenset(name for name in ASKABLE.names if not _works_without(where, nothing, name))


def _works_without(where: pc.Expression, nothing: pa.Table, name: str) -> bool:
    try:
        nothing.drop_columns([name]).filter(where)
    except (pa.ArrowException, NotImplementedError, TypeError):
        return False
    return True
