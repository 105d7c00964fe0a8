"""The prompt of `l3flow query`: questions typed one after the other, until Ctrl-D."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from l3core.errors import RunError, StorageError, UsageError
from launch.words import printable

if TYPE_CHECKING:
    from l3core.sql.asking import Asking

FIRST, NEXT = "l3flow> ", "   ...> "
HELP = """\
SQL, over several lines if need be, to a semicolon.
  .views    the views and their columns
  .help     this
  .quit     leave, as Ctrl-D does; Ctrl-C stops a query or drops what was typed"""
HISTORY_LINES = 1_000
# Text, names and comments, whose semicolons end nothing; what is not closed is left over.
_WHOLE = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*(?=\n|$)|/\*.*?\*/|\$(\w*)\$.*?\$\1\$", re.DOTALL
)
_OPEN = re.compile(r"['\"]|/\*|\$\w*\$")


def converse(asking: "Asking", show: Callable[[Any], object]) -> None:
    """Ask what is typed until it is enough; no error ends it.

    Args:
        asking: the table.
        show: prints an answer.
    """
    print_views(asking)
    print(".help tells more, .quit leaves")
    with _remembering():
        lines: list[str] = []
        typing = True
        while True:
            try:
                typing = True
                lines.append(input(NEXT if lines else FIRST))
                typing = False
                text = "\n".join(lines).strip()
                if not text or text.startswith(".") or is_whole(text):
                    lines.clear()
                    if not _do(asking, text, show):
                        return
            except EOFError:
                print()
                return
            except KeyboardInterrupt:  # whenever it comes
                lines.clear()
                print() if typing else _say("interrupted")


def _do(asking: "Asking", typed: str, show: Callable[[Any], object]) -> bool:
    """Do what was typed; False where that is to leave."""
    if typed in (".quit", ".exit"):
        return False
    if typed == ".help":
        print(HELP)
    elif typed == ".views":
        print_views(asking)
    elif typed.startswith("."):
        _say(f"there is no {typed.split()[0]}; there are .views, .help and .quit")
    elif typed:
        _answer(asking, typed, show)
    return True


def print_views(asking: "Asking") -> None:
    """The views, each with its columns."""
    found = asking.connection.execute(
        "SELECT table_name, list(column_name ORDER BY column_index) FROM duckdb_columns() "
        "WHERE NOT internal GROUP BY table_name ORDER BY min(table_oid)"
    ).fetchall()
    for name, columns in found:
        print(f"{printable(name):12} {printable(', '.join(columns))}")


def is_whole(text: str) -> bool:
    """Whether SQL ends with a semicolon that is one."""
    rest = _WHOLE.sub(" ", text)
    return rest.rstrip().endswith(";") and not _OPEN.search(rest)


def history_file() -> Path:
    """Where what was typed is kept."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "l3flow" / "query_history"


def _answer(asking: "Asking", sql: str, show: Callable[[Any], object]) -> None:
    try:
        asking.follow()
        asking.ask(sql, show)
    except (UsageError, RunError, StorageError, OSError) as error:
        _say(str(error))


def _say(words: str) -> None:
    print(printable(words), file=sys.stderr)


@contextmanager
def _remembering() -> Iterator[None]:
    """Let what is typed in the block be there again the next time, for this user only."""
    try:
        import readline
    except ImportError:  # a Python without it: lines are typed without a history
        yield
        return
    file = history_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        readline.read_history_file(file)
        readline.set_history_length(HISTORY_LINES)
    except OSError as error:
        _say(f"what is typed is not kept: {error}")
        yield
        return
    try:
        yield
    finally:
        readline.write_history_file(file)
