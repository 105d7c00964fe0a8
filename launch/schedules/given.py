"""The command behind `--`: checked as the command itself does, its paths as a scheduler finds them."""

import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from fsspec.registry import available_protocols

from l3core.errors import UsageError
from l3core.storage_options import is_named
from l3core.urls import checked_url, is_web
from launch.options import naming
from launch.places import Place
from launch.schedules.job import Secrets

# Flags whose values name secrets.
SECRET = ("--storage-option", "--notify")


class Given(NamedTuple):
    """A command that was checked.

    Attributes:
        argv: its arguments, the subcommand first.
        secrets: that its storage options name.
        written: local folders that it writes.
        read: local paths that it reads.
    """

    argv: tuple[str, ...]
    secrets: Secrets
    written: tuple[str, ...]
    read: tuple[str, ...]


def _embed(argv: Sequence[str]) -> list[str]:
    from launch import embed

    args = embed.check(argv, embed.build_parser("l3flow embed")).args
    if args.dry_run:
        raise UsageError("--dry-run does nothing, and so every night")
    if args.notify is not None and not is_named(args.notify):
        raise UsageError(
            "--notify in a schedule needs env:NAME or file:PATH of the URL: others may read it there"
        )
    if args.notify_on and not args.notify:
        raise UsageError("--notify-on needs --notify")
    given = any(token.partition("=")[0] == "--if-running" for token in argv)
    if given and args.if_running != "skip":
        raise UsageError(
            "--if-running fail: a schedule that fires during a long run is no failure; leave it out, "
            "and skip is added"
        )
    return [*argv] if given else [*argv, "--if-running", "skip"]


def _compact(argv: Sequence[str]) -> list[str]:
    from launch import compact

    compact.build_parser("l3flow compact").parse(argv)
    return list(argv)


def _verify(argv: Sequence[str]) -> list[str]:
    from launch import verify

    verify.build_parser("l3flow verify").parse(argv)
    return list(argv)


class Schedulable(NamedTuple):
    """A command that makes sense unattended: its check, and its flags that name places."""

    check: Callable[[Sequence[str]], list[str]]
    reads: tuple[str, ...]
    writes: tuple[str, ...]


COMMANDS = {
    "embed": Schedulable(
        _embed,
        reads=("--input", "--root", "--weights", "--flink-job-server-jar"),
        writes=("--output", "--log-file"),
    ),
    "compact": Schedulable(_compact, reads=(), writes=("--table",)),
    "verify": Schedulable(_verify, reads=("--table",), writes=()),
}


def check_command(argv: Sequence[str], place: Callable[[Place], str]) -> Given:
    """Check a command, and put its places where a scheduler finds them.

    Args:
        argv: what stands behind `--`.
        place: gives the path that takes the place of one.

    Raises:
        UsageError: what the command itself would refuse, and what makes no sense unattended.
    """
    if not argv or argv[0] not in COMMANDS:
        got = repr(argv[0]) if argv else "nothing"
        raise UsageError(f"-- must be followed by {', '.join(COMMANDS)} and its options, got {got}")
    command = COMMANDS[argv[0]]
    for token in argv:
        _refuse_unwritable(token)
    if "--" in argv:
        raise UsageError("a second -- has no meaning here: write --input=NAME for a name with a dash")
    tokens = command.check(argv[1:])
    moved: dict[str, list[str]] = {"read": [], "written": [], "secret": []}

    def placed(flag: str, value: str) -> str:
        if flag in SECRET:
            return _secret(flag, value, place, moved["secret"])
        found = Place(flag, value)
        if flag not in command.reads + command.writes:
            return value
        if found.path is None:
            _check_scheme(found)
            return value
        if not found.path.strip():
            raise UsageError(f"{flag} needs a path or URI, got an empty one")
        path = place(found)
        folder = os.path.dirname(path) if flag == "--log-file" else path
        moved["written" if flag in command.writes else "read"].append(folder)
        return found.at(path)

    finished = tuple(_with_values(tokens, placed))
    for token in finished:
        _refuse_unwritable(token)  # the folder that we are in has a name, too
    return Given(
        (argv[0], *finished),
        Secrets(tuple(_variables(finished)), tuple(moved["secret"])),
        tuple(moved["written"]),
        tuple(moved["read"]),
    )


def _with_values(tokens: Sequence[str], change: Callable[[str, str], str]) -> Iterator[str]:
    """The tokens, with each value as `change(flag, value)` has it."""
    flag = ""
    for token in tokens:
        if token.startswith("--"):
            flag, equals, value = token.partition("=")
            yield f"{flag}={change(flag, value)}" if equals else flag
        else:
            yield change(flag, token)


def _secret(flag: str, option: str, place: Callable[[Place], str], files: list[str]) -> str:
    key, named = _named(flag, option)
    if not named.startswith("file:"):
        return option
    files.append(place(Place(flag, named.removeprefix("file:"))))
    return f"{key}file:{files[-1]}"


def _named(flag: str, option: str) -> tuple[str, str]:
    """What comes before the name of a secret, and the name: `env:NAME` or `file:PATH`."""
    if flag == "--notify":
        return "", option
    key, equals, named = option.partition("=")
    return key + equals, named


def _variables(tokens: Sequence[str]) -> Iterator[str]:
    """Names of variables that hold secrets."""
    found = {}

    def note(flag: str, value: str) -> str:
        named = _named(flag, value)[1] if flag in SECRET else ""
        if named.startswith("env:"):
            name = named.removeprefix("env:")
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise UsageError(f"{flag} {value}: {name!r} is no name of a variable")
            found[name] = True
        return value

    list(_with_values(tokens, note))
    yield from found


def _check_scheme(place: Place) -> None:
    scheme, separator, _ = place.text.removeprefix("@").rpartition("::")[2].partition("://")
    if separator and scheme not in available_protocols():
        raise UsageError(f"{place.flag} {place.text}: there is no store called {scheme}")
    if is_web(url := place.text.removeprefix("@")):
        with naming(place.flag):
            checked_url(url)


def _refuse_unwritable(token: str) -> None:
    """Raise for what no crontab, unit or manifest can hold on one line."""
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in token):
        raise UsageError(
            f"{token!r} has line breaks, control characters or bytes that are no UTF-8, which no "
            "scheduler's file can hold: name the folder above it, or a list (@FILE)"
        )


def here(place: Place) -> str:
    """The absolute path of a place on this machine."""
    return os.path.abspath(os.path.expanduser(place.path or ""))


def elsewhere(place: Place, volumes: Sequence[str], target: str) -> str:
    """A path that is there wherever the command runs.

    Raises:
        UsageError: it is only on this machine.
    """
    path = place.path or ""
    if os.path.isabs(path) and not path.startswith("~"):
        path = os.path.normpath(path)
        if place.flag in SECRET or any(
            path == each or path.startswith(each.rstrip("/") + "/") for each in volumes
        ):
            return path
    with naming(place.flag):
        raise UsageError(
            f"{place.text}: a path of this machine, and {target} runs the command elsewhere: name a URI "
            "of a store (gs://, s3://), or an absolute path in a --volume that is there"
        )
