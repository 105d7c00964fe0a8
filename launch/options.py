"""Options: a parser whose errors are one line with the nearest name, and the flags of all commands."""

import argparse
import difflib
import math
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from l3core.downloads import limit_downloads
from l3core.durations import DEFAULT_HOURS, limit_durations
from l3core.engines import ENGINES
from l3core.errors import SpecError, UsageError
from l3core.frontends import FRONTENDS
from l3core.models import MODELS
from l3core.resampling import RESAMPLERS
from l3core.spec import PRECISIONS, EmbeddingSpec
from l3core.storage_options import configure
from l3core.table.failures import Most
from l3core.windows import DENSE, GRIDS
from launch.words import printable

EMAIL = re.compile(r"[-a-zA-Z0-9.]+@[-a-z0-9.]+\.[a-z]+")  # of a service account of Google's
# Fields of EmbeddingSpec whose flag is called otherwise.
FLAGS = {"hop_s": "--hop", "model_options": "--model-option"}


class Parser(argparse.ArgumentParser):
    """argparse without abbreviations, with errors of one line."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **kwargs
        )

    def error(self, message: str) -> NoReturn:
        """Exit with code 2 and one line."""
        self.exit(2, printable(f"{self.prog}: {message} (see {self.prog} --help)") + "\n")

    def flags(self) -> list[str]:
        """All flags of this parser."""
        return [flag for action in self._actions for flag in action.option_strings]

    def refuse(self, unknown: Sequence[str], others: Iterable[str] = ()) -> NoReturn:
        """Exit for arguments that nobody knows, with the nearest flag."""
        given = unknown[0].partition("=")[0]
        if not given.startswith("-"):
            self.error(f"do not know what to do with {given!r}")
        near = difflib.get_close_matches(given, [*self.flags(), *others], n=1)
        hint = f", did you mean {near[0]}?" if near else ""
        self.error(f"unknown option {given}{hint}")

    def strangers(self, argv: Sequence[str]) -> list[str]:
        """Options in `argv` that are not of this parser.

        Looked for before parsing, so that a misspelt flag is told as such and not as one that lacks.
        A comment of SQL, two dashes and a space, is none.
        """
        known = set(self.flags())
        given = [token.partition("=")[0] for token in argv if re.match(r"--(?!\s)", token)]
        return [flag for flag in given if flag not in known and flag != "--"]

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parse all of `argv`."""
        if strangers := self.strangers(argv):
            self.refuse(strangers)
        args, unknown = self.parse_known_intermixed_args(argv)  # names may follow flags
        if unknown:
            self.refuse(unknown)
        configure(getattr(args, "storage_option", ()))
        limit_downloads(getattr(args, "max_download", None))
        limit_durations(getattr(args, "max_duration", None))
        return args


def number(text: str) -> float:
    """A number, for argparse."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"needs a number, got {text!r}") from None


def above_zero(text: str) -> float:
    """A finite number above 0, for argparse."""
    value = number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"needs a number above 0, got {text!r}")
    return value


def whole_number(text: str) -> int:
    """A whole number, for argparse."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"needs a whole number, got {text!r}") from None


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    value = whole_number(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"needs at least 1, got {text!r}")
    return value


def port(text: str) -> int:
    """A port, for argparse."""
    value = whole_number(text)
    if not 0 < value <= 65535:
        raise argparse.ArgumentTypeError(f"needs a port, 1 to 65535, got {text!r}")
    return value


def byte_count(text: str) -> int:
    """Bytes, with a unit of a thousand or none (as `20GB`), for argparse."""
    match = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([kKMGT]?)B?", text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"needs bytes as 500MB or 20GB, got {text!r}")
    return int(float(match[1]) * 1000 ** " kMGT".index(match[2].replace("K", "k") or " "))


def most(text: str) -> Most:
    """A number, or a share as `5%`, for argparse."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)%|(\d+)", text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"needs a number or a share as 5%, got {text!r}")
    return Most(float(match[1]) / 100, 0) if match[1] else Most(0.0, int(match[2]))


def key_value(text: str) -> tuple[str, str]:
    """KEY=VALUE, for argparse."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"needs KEY=VALUE, got {text!r}")
    return key, value


@contextmanager
def naming(flag: str) -> Iterator[None]:
    """Let errors of the block begin with the flag that they are about."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{flag} {error}") from None


@contextmanager
def writing_to(flag: str, place: str) -> Iterator[None]:
    """Let a file that cannot be written be an error of the flag that names it."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{flag} {place}: cannot write there: {error.strerror or error}") from None


def add_spec_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that say which embedding; a default is the model's own."""
    group = parser.add_argument_group("embedding", "Defaults are the model's own.")
    add = group.add_argument
    add("--model", default="l3", metavar="NAME", help=f"{', '.join(MODELS)} (default l3)")
    add("--input-repr", metavar="REPR", help="linear, mel128 or mel256")
    add("--content", metavar="TYPE", help="music or env: what the published weights were trained on")
    add("--embedding-size", type=whole_number, metavar="N", help="numbers in one embedding: 6144 or 512")
    add("--hop", type=number, dest="hop_s", metavar="SECONDS", help="from window to window")
    add(
        "--grid",
        metavar="GRID",
        help=f"{', '.join(GRIDS)}: where windows start; {DENSE}: windows that share the network's work, "
        "many times faster at a small hop, near the others' embedding and not the same (docs/dense.md)",
    )
    add("--frontend", metavar="NAME", help=f"{' or '.join(FRONTENDS)}: generation of the spectrogram")
    add(
        "--weights",
        default="published",
        metavar="WHICH",
        help="published, a path or URI of a file that the model reads, or random:SEED",
    )
    add("--precision", default="float32", metavar="TYPE", help=", ".join(PRECISIONS))
    add("--resampler", default="soxr_hq", metavar="NAME", help=" or ".join(RESAMPLERS))
    add("--engine", default="tensorflow", metavar="NAME", help=", ".join(ENGINES))
    add(
        "--model-option",
        type=key_value,
        action="append",
        default=[],
        dest="model_options",
        metavar="KEY=VALUE",
        help="further options of a model",
    )


def spec_of(args: argparse.Namespace) -> EmbeddingSpec:
    """The spec that the flags mean.

    Raises:
        UsageError: naming the flag.
    """
    try:
        return EmbeddingSpec(
            model=args.model,
            input_repr=args.input_repr,
            content=args.content,
            embedding_size=args.embedding_size,
            hop_s=args.hop_s,
            grid=args.grid,
            frontend=args.frontend,
            weights=args.weights,
            precision=args.precision,
            resampler=args.resampler,
            engine=args.engine,
            model_options=dict(args.model_options),
        )
    except SpecError as error:
        flag = FLAGS.get(error.field, "--" + error.field.replace("_", "-"))
        raise UsageError(f"{flag} {error.problem}") from None


def say_hop(args: argparse.Namespace, spec: EmbeddingSpec) -> None:
    """Say which hop there is, where it is not the one that was asked for."""
    asked = spec.network.default_hop_s if args.hop_s is None else args.hop_s
    if args.quiet or asked == spec.hop_s or spec.dense is None:
        return
    step_s = spec.dense.stride_samples / spec.sample_rate_hz
    print(
        f"l3flow: note: --hop {asked:g}: dense windows of {spec.model} are whole multiples of "
        f"{step_s:.3g} s apart, the nearest is {spec.hop_s:.3g} s",
        file=sys.stderr,
    )


def add_table_flag(parser: argparse.ArgumentParser) -> None:
    """`--table`."""
    parser.add_argument("--table", required=True, metavar="URI", help="the table")


def add_input_flag(parser: argparse.ArgumentParser, text: str, *, required: bool = False) -> None:
    """`--input`: several values, and further ones where it is given again, so that none is lost.

    Args:
        parser: of the command.
        text: what it is, for `--help`.
        required: whether the command needs some.
    """
    parser.add_argument(
        "--input",
        nargs="+",
        action="extend",
        required=required,
        default=None if required else [],
        metavar="PATTERN",
        help=text,
    )


def add_limit_flags(parser: argparse.ArgumentParser) -> None:
    """`--max-download` and `--max-duration`."""
    parser.add_argument(
        "--max-download",
        type=byte_count,
        metavar="SIZE",
        help="a larger object on the web is not read, as 500MB (default 1GB)",
    )
    parser.add_argument(
        "--max-duration",
        type=above_zero,
        metavar="HOURS",
        help=f"a longer recording is not read (default {DEFAULT_HOURS:g}, two weeks)",
    )


def add_output_flags(parser: argparse.ArgumentParser) -> None:
    """`--quiet`, `--json` and `--storage-option`, which every command has."""
    parser.add_argument(
        "--storage-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="for the client of gs://, s3:// or az://; a secret as env:NAME or file:PATH",
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing but errors")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
