"""What a command prints, without what a terminal would act on, wherever the text came from.

Names of files, labels, errors of stores and libraries, what is in a table and what was typed are all
written by somebody. `main` puts a `Plain` in front of both streams, so nobody who prints has to think of
it; JSON is ASCII (`json.dumps`) and passes as it is.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO, cast

from launch.words import visible


class Plain:
    """A text stream to whose screen only printable characters, line breaks and tabs go.

    Attributes:
        screen: the stream itself, for a progress bar, which moves the cursor.
    """

    def __init__(self, screen: TextIO) -> None:
        self.screen = screen

    def write(self, text: str) -> int:
        """Write text; what is not printable is written as an escape."""
        self.screen.write(visible(text))
        return len(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self.screen, name)


def plain(stream: TextIO) -> TextIO:
    """The stream with a `Plain` in front, if it has none yet."""
    return stream if isinstance(stream, Plain) else cast(TextIO, Plain(stream))


def screen_of(stream: TextIO) -> TextIO:
    """The stream behind a `Plain`: who writes to it answers for every character."""
    return stream.screen if isinstance(stream, Plain) else stream


@contextmanager
def plain_output() -> Iterator[None]:
    """Let standard output and standard error be plain within the block."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(plain, before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
