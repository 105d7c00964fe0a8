"""The whole command beside what people use instead: the same files, the same weights, by turns.

Ours runs before, between and after the others, and each of them is compared with our runs just before
and just after it. Then each gets nine short clips, one of which is broken.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from l3core.spec import EmbeddingSpec
from launch.benchmarks.contest import SAME_RATE, SHORT_CLIPS, Contest, Run
from launch.benchmarks.environments import NoEnvironmentError
from launch.benchmarks.figures import Figure
from launch.benchmarks.named_peers import PEERS
from launch.benchmarks.results import relative_l2

OURS = "l3flow"
# A peer is killed after so many times as long as ours took, and not before ten minutes.
LIMIT, LEAST_LIMIT_S = 20.0, 600.0


def against(
    spec: EmbeddingSpec,
    names: Sequence[str],
    folder: Path,
    *,
    minutes: float,
    say: Callable[[str], None],
) -> Iterator[Figure]:
    """Ours and the peers by turns; one that cannot be installed or fails is a figure that says why.

    Args:
        spec: what all compute, see `named_peers.check_spec`.
        names: of `PEERS`.
        folder: for corpora and results.
        minutes: of audio, half of it one recording, half of it clips.
        say: is told what goes on, in words.
    """
    contest = Contest(spec, folder, minutes, say)
    pythons: dict[str, str] = {}
    for name in names:
        try:
            pythons[name] = contest.python_of(name)
        except NoEnvironmentError as error:
            yield Figure("left out", 1, "", f"{name}: {error}")
    yield from _turns(contest, pythons)
    yield from _broken(contest, pythons)


def _turns(contest: Contest, pythons: dict[str, str]) -> Iterator[Figure]:
    ours = [contest.run_ours(contest.corpus)]
    for name, python in pythons.items():
        limit_s = max(LEAST_LIMIT_S, LIMIT * ours[-1].seen.wall_s)
        theirs = contest.run_peer(name, python, contest.corpus, limit_s=limit_s)
        ours.append(contest.run_ours(contest.corpus))
        if theirs.seen.code or not theirs.windows:
            yield Figure("failed", theirs.seen.code, "exit code", f"{name}: {theirs.failure}")
        else:
            yield from _measured(name, [theirs])
            yield from _compared(name, theirs, ours[-2:])
    yield from _measured(OURS, ours)


def _measured(name: str, runs: Sequence[Run]) -> Iterator[Figure]:
    """Means of a contender's runs."""
    note = f"{name}: {runs[0].windows} windows"
    note += f", mean of {len(runs)} runs" if len(runs) > 1 else ""
    yield Figure("whole command", _mean(run.windows_per_s for run in runs), "windows/s", note)
    for label, unit, values in (
        ("CPU time", "s", [run.seen.cpu_s for run in runs]),
        ("peak memory", "MB", [run.seen.peak_mb for run in runs]),
        ("first result", "s", [run.seen.first_s for run in runs]),
    ):
        known = [value for value in values if value is not None]
        if known:
            yield Figure(label, _mean(known), unit, name)


def _compared(name: str, theirs: Run, ours: Sequence[Run]) -> Iterator[Figure]:
    """A peer beside our runs before and after it."""
    speed = _mean(run.windows_per_s for run in ours) / theirs.windows_per_s
    yield Figure("speed / peer's", speed, "", f"{name}: whole command, start-up included")
    cpu = [run.seen.cpu_s for run in ours if run.seen.cpu_s]
    if cpu and theirs.seen.cpu_s:
        share = _mean(cpu) / theirs.seen.cpu_s
        yield Figure("CPU time / peer's", share, "", f"{name}: all processes")
    expected = ours[-1].vectors
    lack = [name for name, part in expected.items() if len(theirs.vectors.get(name, ())) != len(part)]
    if lack:
        yield Figure("other windows", len(lack), "files", f"{name}: {lack[0]} is the first")
    same = [stem for stem in expected if stem not in lack]
    for note, stems in (
        ("nobody resamples", [stem for stem in same if stem == SAME_RATE]),
        ("44.1 kHz", [stem for stem in same if stem != SAME_RATE]),
    ):
        if stems:
            far = max(relative_l2(theirs.vectors[stem], expected[stem]) for stem in stems)
            yield Figure("vectors, relative L2", far, "at most", f"{name}: {note}")


def _broken(contest: Contest, pythons: dict[str, str]) -> Iterator[Figure]:
    """Which of the other clips have vectors when one clip is broken."""
    good = f"of {SHORT_CLIPS - 1} clips"
    run = contest.run_ours(contest.broken)
    ledger = ", ".join(f"{count} {status}" for status, count in sorted(run.ledger.items()))
    note = f"{OURS}: went on, exit code 0, its ledger: {ledger}"
    yield Figure("beside a broken clip", len(run.vectors), good, note)
    for name, python in pythons.items():
        run = contest.run_peer(name, python, contest.broken)
        ending = f"ended by {run.failure}" if run.seen.code else "went on, exit code 0"
        yield Figure("beside a broken clip", len(run.vectors), good, f"{name}: {ending}")


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


COLUMNS = {
    "windows/s": "whole command",
    "speed of l3flow": "speed / peer's",
    "CPU s": "CPU time",
    "CPU of l3flow": "CPU time / peer's",
    "peak MB": "peak memory",
    "first s": "first result",
    "kept": "beside a broken clip",
}


def table(figures: Sequence[Figure]) -> str:
    """The figures of `against` side by side, a line for each contender."""
    found = {(figure.note.partition(":")[0], figure.name): figure.value for figure in figures}
    rows = [["", *COLUMNS]]
    for name in (OURS, *PEERS):
        if (name, "whole command") in found:
            values = [found.get((name, of)) for of in COLUMNS.values()]
            rows.append([name, *("" if value is None else f"{value:.4g}" for value in values)])
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows)
