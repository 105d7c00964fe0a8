"""`l3flow classify`: labels for new audio, by a model that `l3flow crossval` trained."""

import argparse
import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from launch.options import Parser, add_output_flags, naming, positive, writing_to
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


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add = parser.add_argument
    add("--model", required=True, metavar="FILE", help="a .keras file of l3flow crossval")
    add("--input", nargs="+", required=True, metavar="PATTERN", help="as for l3flow embed")
    add("--output", metavar="FILE", help="write all probabilities there, .csv or .parquet")
    add("--per-window", action="store_true", help="a line for each window")
    add("--limit", type=positive, metavar="N", help="only the first N files by path")
    add("--log-file", metavar="FILE", help="append what libraries say to FILE; it is not shown")
    add_output_flags(parser)
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """Label; returns the exit code."""
    args = parser.parse(argv)
    if args.output is not None and not args.output.endswith(FORMATS):
        parser.error(f"--output must end in {' or '.join(FORMATS)}, got {args.output!r}")
    with quiet_libraries(args.log_file):
        rows = list(_label(args))
        if args.output is not None:
            with writing_to("--output", args.output):
                _write(args.output, rows)
    if args.json:
        print(json.dumps(rows, indent=1))
    elif not args.quiet:
        _print_rows(args, rows)
    return 0


def _label(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    from itertools import islice

    from l3core import storage
    from l3core.classifier import from_keras
    from l3core.errors import UsageError
    from l3core.labelling import embedder_of, label_recordings
    from l3core.listing import list_inputs, parse_input
    from l3core.loading import without_collection
    from launch.screen import showing_progress

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


def _write(file: str, rows: Sequence[dict[str, Any]]) -> None:
    from l3core import storage

    if file.endswith(".csv"):
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        storage.write_bytes(file, text.getvalue().encode())
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"uri": pa.string(), "label": pa.string(), "status": pa.string(), "error": pa.string()}
    types |= {"window": pa.int32(), "windows": pa.int32()}
    schema = pa.schema([(name, types.get(name, pa.float64())) for name in rows[0]])
    with storage.writing(file) as target:
        pq.write_table(pa.Table.from_pylist(list(rows), schema), target, compression="zstd")


def _print_rows(args: argparse.Namespace, rows: Sequence[dict[str, Any]]) -> None:
    if args.output is not None:
        bad = len({row["uri"] for row in rows if row["status"] != "ok"})
        files = len({row["uri"] for row in rows})
        more = f", {bad} of them not all right: see the column status" if bad else ""
        print(f"{files} files labelled{more}: {printable(args.output)}")
        return
    for row in rows:
        where = "" if row.get("start_s") is None else f" at {row['start_s']:.2f} s"
        name = printable(row["uri"]) + where
        if row["label"] is None:
            print(f"{name}: {row['status']}: {row['error']}")
        else:
            note = f" ({row['status']}: {row['error']})" if row["status"] != "ok" else ""
            print(f"{name}: {printable(row['label'])} {row['probability']:.2f}{note}")
