"""The small family of errors that the rest of the project raises and the command line understands."""


class UsageError(ValueError):
    """Something was asked for that cannot be: the caller has to change the call (exit code 2)."""


class SpecError(UsageError):
    """A field of an `EmbeddingSpec` is wrong; `field` names it, so that a command can name its flag."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class WeightsError(UsageError):
    """There are no such weights, or they are not what they should be."""


class FetchError(WeightsError):
    """Published weights could not be fetched; not the caller's fault (exit code 1)."""


class CredentialsError(UsageError):
    """A store's credentials are missing or refused; the message says what to do."""


class StorageError(RuntimeError):
    """An object store did not do what was asked; the message says which object and what to do."""


class RunError(RuntimeError):
    """A run failed and left the table as it was (exit code 1)."""


class OutOfMemoryError(RunError):
    """A device has no memory for so many windows at once."""


class BusyError(RunError):
    """Another run is working on the same partition."""


class TableError(UsageError):
    """A table is missing, of another layout, or not what the call needs (exit code 2)."""


class DamagedError(TableError):
    """A file of a table cannot be read; not the caller's fault (exit code 1)."""


class AudioError(Exception):
    """A recording cannot be embedded, or not wholly.

    Attributes:
        status: the ledger's word for it, one of `l3core.table.layout.STATUSES`.
    """

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status
