"""Files of a table that cannot be read, told by their names."""

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from l3core.errors import DamagedError


@contextmanager
def naming_damage(uri: str) -> Iterator[None]:
    """Let what Arrow says of a damaged file within the block be an error that names it.

    Raises:
        DamagedError: the file is damaged.
    """
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        # of a damaged page Arrow says OSError and nothing more; stores have kinds of their own
        if isinstance(error, OSError) and type(error) is not OSError:
            raise
        raise DamagedError(f"{uri} cannot be read, see l3flow verify: {error}") from error
