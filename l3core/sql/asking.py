"""A DuckDB that answers questions about a table and can do nothing else."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

import duckdb
import pyarrow as pa

from l3core import storage
from l3core.errors import RunError, UsageError
from l3core.machine import usable_memory
from l3core.sql.files import BASE, ServedFiles
from l3core.sql.problems import error_words, sql_error
from l3core.sql.sources import serve_state
from l3core.sql.views import view_statements
from l3core.stores import is_remote
from l3core.table.layout import TablePaths
from l3core.table.state import TableState, choose_spec, existing_state

T = TypeVar("T")

# Of what this machine has free. The rest is for what is read, and for what becomes of the answer.
MEMORY_SHARE = 0.7
# Reading from a store is waiting, which more threads than cores do at once.
STORE_THREADS = 8
BATCH_ROWS = 1024
INTERRUPTED_S, EACH_S = 5.0, 0.1
# Nothing of these is needed for a table, and each is a way out of it.
LOCKED_CONFIG = {
    "temp_directory": "",  # a folder that SQL could write to
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_persistent_secrets": "false",
}
LOCKS = (
    f"SET allowed_directories = ['{BASE}']",
    "SET enable_external_access = false",
    "SET disabled_filesystems = 'LocalFileSystem'",
    "SET lock_configuration = true",
)


def open_views(
    table: str | os.PathLike[str],
    spec: str | None = None,
    *,
    crossval: str | os.PathLike[str] | None = None,
    allow_files: bool = False,
) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with views over a table as its last commit left it.

    `windows`, `clips` (the ledger), `runs` and `specs`; `predictions`, `splits` and `trials`, too, if a
    result of cross-validation is named. Nothing that is asked of it can change the table, read or write
    another file, or reach the network.

    Args:
        table: path or URI of the table.
        spec: a fingerprint or the beginning of one; None if the table has only one.
        crossval: path or URI of a result.
        allow_files: let SQL read and write other files, and load extensions.

    Raises:
        TableError: no such table, or not one spec.
        UsageError: no such result.
    """
    paths = TablePaths(storage.absolute(os.fspath(table)).rstrip("/"))
    result = None if crossval is None else os.fspath(crossval)
    return Asking(paths, spec, crossval=result, allow_files=allow_files).connection


class Asking:
    """A connection that follows a table's commits.

    Attributes:
        connection: with the views.
        fingerprint: of the spec.

    Raises:
        TableError, UsageError: see `open_views`.
    """

    def __init__(
        self,
        paths: TablePaths,
        spec: str | None,
        *,
        crossval: str | None = None,
        allow_files: bool = False,
    ) -> None:
        self._paths, self._crossval = paths, crossval
        self._state = existing_state(paths)
        self.fingerprint = choose_spec(paths, self._state, spec)
        self._files = ServedFiles()
        self.connection = _connect(self._files, allow_files=allow_files, remote=is_remote(paths.root))
        self._look_at(self._state)
        if not allow_files:
            for lock in LOCKS:
                self.connection.execute(lock)

    def ask(self, sql: str, take: Callable[[pa.RecordBatchReader], T]) -> T | None:
        """Run SQL, one statement or several, and let `take` have the rows of the last.

        If the next commit has taken a file away meanwhile, all of it is run again on the next state.

        Returns:
            What `take` returns; None for a statement without rows.

        Raises:
            UsageError: no SQL, or it is wrong.
            RunError: a file is damaged.
            OSError: one cannot be read.
            KeyboardInterrupt: Ctrl-C; the connection is as it was.
        """
        while True:
            self._files.clear()
            try:
                return _interruptibly(self.connection, partial(self._run, sql, take))
            except (duckdb.Error, OSError) as error:
                self._go_on_after(error, sql)

    def follow(self) -> None:
        """Let the views be over the last commit, if there was one since."""
        state = existing_state(self._paths)
        if state != self._state:
            self._look_at(state)

    def _run(self, sql: str, take: Callable[[pa.RecordBatchReader], T]) -> T | None:
        try:
            sql.encode()
        except UnicodeEncodeError:
            raise UsageError("SQL: is no text in UTF-8") from None
        statements = self.connection.extract_statements(sql)
        if not statements:
            raise UsageError("no SQL: nothing is asked")
        for statement in statements[:-1]:
            self._do(statement)
        last = statements[-1]
        if duckdb.ExpectedResultType.QUERY_RESULT not in last.expected_result_type:
            self._do(last)
            return None
        relation = self.connection.sql(last)
        if relation is None:  # what was prepared gave no rows
            return None
        # of the same kind by another name, which the older has not
        reader = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader
        with reader(BATCH_ROWS) as rows:
            return take(rows)

    def _do(self, statement: duckdb.Statement) -> None:
        self.connection.execute(statement)
        while self.connection.fetchmany(BATCH_ROWS):  # to its end: what it does is done as it is read
            pass

    def _go_on_after(self, error: Exception, sql: str) -> None:
        """Return if the same may be asked again.

        Raises:
            UsageError, RunError, OSError: what was wrong.
        """
        problem = self._files.problem
        if isinstance(problem, FileNotFoundError):
            self._follow_after(problem, self._state)
            return
        if problem is not None:
            raise problem from None
        if not isinstance(error, duckdb.Error):
            raise error
        refusal = self._files.refusal
        if refusal is not None and type(error) is duckdb.Error:  # Python's own, with a traceback
            raise UsageError(f"SQL: {refusal}") from None
        raise sql_error(error, sql, self.connection, self._files.damaged) from None

    def _follow_after(self, missing: FileNotFoundError, before: TableState) -> None:
        """Look at the next commit, which has taken a file away.

        Raises:
            RunError: there is none: the file is missing.
        """
        state = existing_state(self._paths)
        if state == before:
            raise RunError(
                f"{missing.filename or missing} is missing: l3flow verify tells more"
            ) from None
        self._look_at(state)

    def _look_at(self, state: TableState) -> None:
        try:
            served, sources = serve_state(self._paths, state, self.fingerprint, self._crossval)
        except FileNotFoundError as error:
            self._follow_after(error, state)
            return
        self._files.serve(served)
        self._files.clear()
        self._state = state
        try:
            for statement in view_statements(sources):
                self.connection.execute(statement)
        except duckdb.Error as error:  # if it is that another commit came, its views are made
            if statement.split()[4] in sources.crossval and self._files.problem is None:
                problem, _ = error_words(error)
                raise UsageError(
                    f"{self._crossval} is no result of l3flow crossval: {problem}"
                ) from None
            self._go_on_after(error, "")


def _connect(files: ServedFiles, *, allow_files: bool, remote: bool) -> duckdb.DuckDBPyConnection:
    config: dict[str, str | bool | int | float | list[str]] = {
        "python_enable_replacements": "false",  # SQL sees no variables of Python
        "memory_limit": f"{round(MEMORY_SHARE * usable_memory() / 2**20)}MiB",
        **({} if allow_files else LOCKED_CONFIG),
    }
    connection = duckdb.connect(config=config)
    connection.register_filesystem(files)
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET errors_as_json = true")
    connection.execute("SET parquet_metadata_cache = true")
    if remote:
        connection.execute(f"SET threads = {STORE_THREADS}")
    return connection


def _interruptibly(connection: duckdb.DuckDBPyConnection, work: Callable[[], T]) -> T:
    """Do work with a connection in a thread, so that Ctrl-C can stop it: DuckDB looks for no signals."""
    outcome: Future[T] = Future()
    thread = threading.Thread(target=_settle, args=(outcome, work), daemon=True)
    thread.start()
    try:
        return outcome.result()
    except KeyboardInterrupt:
        for _ in range(round(INTERRUPTED_S / EACH_S)):  # one that comes before the query has no effect
            connection.interrupt()
            thread.join(EACH_S)
            if not thread.is_alive():
                break
        raise


def _settle(outcome: "Future[T]", work: Callable[[], T]) -> None:
    try:
        outcome.set_result(work())
    except BaseException as error:  # is raised by the thread that waits
        outcome.set_exception(error)
