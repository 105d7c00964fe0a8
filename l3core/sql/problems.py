"""What DuckDB says when it refuses, in one line that tells where."""

import json
import re
from collections.abc import Callable, Iterable

import duckdb

from l3core.errors import RunError, UsageError

# Errors that say what is wrong with the SQL, before anything is read.
_OF_THE_SQL = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException)
# Errors of the values that it meets, or of a file's; if of a file's, with one of these words.
_OF_VALUES = (duckdb.DataError, duckdb.InvalidInputException, duckdb.PermissionException)
_DAMAGE = re.compile(
    r"parquet|thrift|decompress|zstd|snappy|magic|corrupt|page|dictionary|encoding|read \d+ bytes|"
    r"protocol|invalid unicode|utf-?8",
    re.IGNORECASE,
)
_OF_CROSSVAL = re.compile(r"Table with name (predictions|splits|trials) does not exist")


def sql_error(
    error: duckdb.Error,
    sql: str,
    connection: duckdb.DuckDBPyConnection,
    damaged: Callable[[], Iterable[str]],
) -> Exception:
    """What to raise for an error of DuckDB.

    Args:
        error: of DuckDB.
        sql: that it was asked.
        connection: of which it was asked.
        damaged: looks for damaged files among those that were read.

    Returns:
        A RunError for a damaged file, a UsageError otherwise.
    """
    words, position = error_words(error)
    if _may_be_damage(error, words):
        for uri in damaged():
            return RunError(f"{uri} is damaged: {words}; l3flow verify tells more")
    if position is None and isinstance(error, _OF_THE_SQL):
        position = _asked_again(connection, sql)
    kind = type(error).__name__.removesuffix("Exception")
    advice = ""
    if isinstance(error, duckdb.PermissionException) or "configuration has been locked" in words:
        advice = " (a query reads the table and nothing else; --allow-files unlocks the rest)"
    elif isinstance(error, duckdb.CatalogException) and _OF_CROSSVAL.search(words):
        advice = " (--crossval makes this view of a result)"
    elif isinstance(error, duckdb.OutOfMemoryException):
        advice = " (with --allow-files DuckDB may put on the disk what does not fit)"
    return UsageError(f"SQL: {kind} error{_place(sql, position)}: {words}{advice}")


def _may_be_damage(error: duckdb.Error, words: str) -> bool:
    """Whether it is worth to read the files again."""
    if isinstance(error, _OF_THE_SQL):
        return False
    return not isinstance(error, _OF_VALUES) or _DAMAGE.search(words) is not None


def error_words(error: duckdb.Error) -> tuple[str, int | None]:
    """An error's own words in one line, and where in the statement it is."""
    text = str(error)
    try:
        found = json.loads(text[text.index("{") :])
        text, position = str(found["exception_message"]), found.get("position")
    except (ValueError, KeyError, TypeError):
        text, position = re.sub(r"^[\w ]+ Error: ", "", text.partition("\nLINE ")[0]), None
    return " ".join(text.split()), None if position is None else int(position)


def _asked_again(connection: duckdb.DuckDBPyConnection, sql: str) -> int | None:
    """Where the last statement is wrong, which some ways to run it do not tell."""
    try:
        connection.execute(connection.extract_statements(sql)[-1])
    except duckdb.Error as error:
        return error_words(error)[1]
    return None


def _place(sql: str, position: int | None) -> str:
    if position is None or position > len(sql):
        return ""
    before = sql.encode()[:position].decode(errors="replace")
    return f" in line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))}"
