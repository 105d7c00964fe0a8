"""`l3flow classify`: labels for new audio, by a model that `l3flow crossval` trained."""

import argparse
import csv
import io
import json
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, BinaryIO

from l3core.urls import refuse_web
from launch.options import (
    Parser,
    add_input_flag,
    add_limit_flags,
    add_output_flags,
    naming,
    positive,
    writing_to,
)
from launch.quiet import quiet_libraries
from launch.words import duration, printable

if TYPE_CHECKING:
    from l3core.labelling import LabelledRecording

DESCRIPTION = """\
Label audio with a model that l3flow crossval trained: a line for each file, or for each window.

A file that cannot be read gets its line, too, which says why.

examples:
  l3flow classify --model result/models/final.keras --input 'new/*.wav'
  l3flow classify --model final.keras --input new --output labels.csv
  l3flow classify --model final.keras --input new --output labels.parquet --per-window
  l3flow classify --model final.keras --input a.wav --json
"""

FORMATS = (".csv", ".parquet")
ROWS_A_GROUP = 50_000


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add = parser.add_argument
    add("--model", required=True, metavar="FILE", help="a .keras file of l3flow crossval")
    add_input_flag(parser, "as for l3flow embed", required=True)
    add("--output", metavar="FILE", help="write all probabilities there, .csv or .parquet")
    add("--per-window", action="store_true", help="a line for each window")
    add("--limit", type=positive, metavar="N", help="only the first N files by path")
    add_limit_flags(parser)
    add("--log-file", metavar="FILE", help="append what libraries say to FILE; it is not shown")
    add_output_flags(parser)
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """Label; returns the exit code."""
    args = parser.parse(argv)
    if args.output is not None and not args.output.endswith(FORMATS):
        parser.error(f"--output must end in {' or '.join(FORMATS)}, got {args.output!r}")
    with naming("--output"):
        refuse_web(args.output or "")
    with quiet_libraries(args.log_file):
        rows = _label(args)
        if args.json:
            found = list(rows)
        elif args.output is not None:
            files, bad = _write(args.output, rows)
        else:
            for row in rows:
                if not args.quiet:
                    print(_line(row))
    if args.json:
        print(json.dumps(found, indent=1))
    elif args.output is not None and not args.quiet:
        more = f", {bad} of them not all right: see the column status" if bad else ""
        print(f"{files} files labelled{more}: {printable(args.output)}")
    return 0


def _label(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    from l3core import storage
    from l3core.classifier import from_keras
    from l3core.errors import UsageError
    from l3core.labelling import embedder_of, label_recordings
    from l3core.listing import list_inputs, parse_input
    from l3core.loading import without_collection
    from launch.places import reach_places
    from launch.screen import showing_progress

    reach_places({"--model": args.model, "--input": args.input, "--output": args.output})
    with naming("--input"):
        inputs = [parse_input(text) for text in args.input]
    with naming("--model"):
        try:
            content = storage.read_bytes(args.model)
        except (FileNotFoundError, IsADirectoryError):
            raise UsageError(f"{args.model}: no such file") from None
    files = sum(1 for _ in islice(list_inputs(inputs), args.limit))
    if not files:
        raise UsageError(f"--input {' '.join(args.input)} matches no file")
    counter = _Counter(files)
    make = _window_rows if args.per_window else _clip_rows
    with showing_progress(lambda: counter, _Counter.describe, quiet=args.quiet or args.json):
        with without_collection(), naming("--model"):
            classifier = from_keras(content, name=args.model)
            embedder = embedder_of(classifier, name=args.model)
        found = islice(list_inputs(inputs), args.limit)
        for recording in label_recordings(found, embedder, classifier):
            counter.done += 1
            yield from make(recording, classifier.labels)


class _Counter:
    """How many recordings are labelled, for the progress line."""

    def __init__(self, files: int) -> None:
        self.done, self.files = 0, files

    @property
    def share(self) -> float:
        return self.done / self.files

    @property
    def begun(self) -> bool:
        return self.done > 0

    def describe(self, seconds: float) -> str:
        """Files, rate and time left, in words."""
        if not self.done:
            return "loading the model"
        rate = self.done / max(seconds, 1e-3)
        left = (self.files - self.done) / rate
        return f"{self.done} of {self.files} files, {rate:.1f} files/s, {duration(left)} left"


def _clip_rows(recording: "LabelledRecording", labels: Sequence[str]) -> Iterator[dict[str, Any]]:
    """One row: the mean over the windows."""
    windows = len(recording.probabilities)
    mean = recording.probabilities.mean(axis=0) if windows else None
    yield {
        "uri": recording.uri,
        **_label_of(mean, labels),
        "windows": windows,
        "status": recording.status,
        "error": recording.error,
        **_probabilities(mean, labels),
    }


def _window_rows(recording: "LabelledRecording", labels: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A row for each window; one without a window for a recording that has none."""
    windows = list(zip(recording.start_s.tolist(), recording.probabilities)) or [(None, None)]
    for number, (start_s, probabilities) in enumerate(windows):
        yield {
            "uri": recording.uri,
            "window": number if probabilities is not None else None,
            "start_s": start_s,
            **_label_of(probabilities, labels),
            "status": recording.status,
            "error": recording.error,
            **_probabilities(probabilities, labels),
        }


def _label_of(probabilities: Any, labels: Sequence[str]) -> dict[str, Any]:
    if probabilities is None:
        return {"label": None, "probability": None}
    best = int(probabilities.argmax())
    return {"label": labels[best], "probability": float(probabilities[best])}


def _probabilities(probabilities: Any, labels: Sequence[str]) -> dict[str, float | None]:
    """One column for each label."""
    return {
        f"p({label})": None if probabilities is None else float(probabilities[place])
        for place, label in enumerate(labels)
    }


def _write(file: str, rows: Iterator[dict[str, Any]]) -> tuple[int, int]:
    """Write rows as they come; returns the files, and those that are not all right."""
    from l3core import storage

    first = next(rows)  # what is wrong with the call is told before a file is begun
    uris, bad = set(), set()
    with writing_to("--output", file), storage.writing(file) as target:
        writer = (_CsvWriter if file.endswith(".csv") else _ParquetWriter)(target, first)
        for row in chain([first], rows):
            uris.add(row["uri"])
            if row["status"] != "ok":
                bad.add(row["uri"])
            writer.write(row)
        writer.close()
    return len(uris), len(bad)


class _CsvWriter:
    """Rows as CSV, in UTF-8."""

    def __init__(self, target: BinaryIO, first: dict[str, Any]) -> None:
        self._text = io.TextIOWrapper(target, encoding="utf-8", newline="", write_through=True)
        self._writer = csv.DictWriter(self._text, list(first), lineterminator="\n")
        self._writer.writeheader()

    def write(self, row: dict[str, Any]) -> None:
        self._writer.writerow(row)

    def close(self) -> None:
        self._text.detach()  # the file is closed by whoever opened it


class _ParquetWriter:
    """Rows as Parquet, in groups."""

    def __init__(self, target: BinaryIO, first: dict[str, Any]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        types = {name: pa.string() for name in ("uri", "label", "status", "error")}
        types |= {"window": pa.int32(), "windows": pa.int32()}
        self._schema = pa.schema([(name, types.get(name, pa.float64())) for name in first])
        self._batch = pa.RecordBatch.from_pylist
        self._writer = pq.ParquetWriter(target, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def write(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) == ROWS_A_GROUP:
            self._flush()

    def close(self) -> None:
        if self._rows:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_batch(self._batch(self._rows, self._schema))
        self._rows = []


def _line(row: dict[str, Any]) -> str:
    where = "" if row.get("start_s") is None else f" at {row['start_s']:.2f} s"
    name = printable(row["uri"]) + where
    if row["label"] is None:
        return f"{name}: {row['status']}: {printable(row['error'])}"
    note = f" ({row['status']}: {printable(row['error'])})" if row["status"] != "ok" else ""
    return f"{name}: {printable(row['label'])} {row['probability']:.2f}{note}"
