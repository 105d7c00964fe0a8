"""`l3flow study --dry-run`: what a study would take on this machine; writes nothing."""

import argparse
import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from l3core.embedding import Embedder
from l3core.machine import usable_memory
from l3core.speed import windows_per_second
from l3core.study.cost import Trainings, expected_trainings, expected_windows
from l3core.study.opening import Opened, Part
from l3core.study.paths import StudyPaths
from l3core.study.plan import StudyPlan
from l3core.table.preview import Preview
from l3core.weights import Weights
from launch.embed_preview import preview_inputs
from launch.exits import DONE
from launch.study_embed import embed_args, list_of
from launch.study_plan import look_for
from launch.study_run import plan_cell
from launch.words import duration, printable, size

TIMED_S = 2.0  # of each model
TIMED_STEPS = 20  # of each training


class Cost(NamedTuple):
    """What a part would take.

    Attributes:
        part: dataset and embedding.
        preview: of its embedding.
        embedding_s: seconds that would take here.
        trainings: of its cells.
        training_s: seconds those would take here, if no model stopped early.
    """

    part: Part
    preview: Preview
    embedding_s: float
    trainings: tuple[Trainings, ...]
    training_s: float

    @property
    def left(self) -> int:
        """Trainings that are left."""
        return sum(each.left for each in self.trainings)


def preview(args: argparse.Namespace, plan: StudyPlan, paths: StudyPaths) -> None:
    """Say what a study would take."""
    opened = look_for(args, plan)
    timed = _Timed()
    costs = [_cost(args, opened, paths, part, timed) for part in opened.there]
    if args.json:
        print(json.dumps(_facts(args, opened, paths, costs), indent=1, sort_keys=True))
    else:
        _print(args, opened, costs)


class _Timed:
    """Speeds of this machine, each measured once."""

    def __init__(self) -> None:
        self.step_s = cache(self._step_s)
        self._speeds: dict[str, float] = {}

    def speed(self, part: Part, weights: Weights) -> float:
        """Windows a second; what the weights are changes nothing."""
        spec = part.embedding.spec
        assert spec is not None
        same = {k: v for k, v in spec.to_dict().items() if k not in ("weights", "content")}
        name = json.dumps(same, sort_keys=True)
        if name not in self._speeds:
            self._speeds[name] = windows_per_second(Embedder(spec, weights=weights), seconds=TIMED_S)
        return self._speeds[name]

    @staticmethod
    def _step_s(size: int, classes: int, batch_size: int) -> float:
        from l3core.crossval.training import seconds_a_step

        return seconds_a_step(size, classes, batch_size=batch_size, steps=TIMED_STEPS)


def _cost(
    args: argparse.Namespace, opened: Opened, paths: StudyPaths, part: Part, timed: _Timed
) -> Cost:
    spec = part.embedding.spec
    assert spec is not None
    copy = opened.copies[part.dataset.name]
    table = paths.table(part.dataset)
    with tempfile.TemporaryDirectory(prefix="l3flow-") as folder:
        clips = Path(folder) / "clips.jsonl"
        clips.write_bytes(list_of(copy))
        look, weights = preview_inputs(embed_args(args, part, str(clips), table.root), table, spec)
    seconds = look.windows / timed.speed(part, weights) if look.windows else 0.0
    trainings = tuple(_trainings(opened, paths, part, look, each) for each in opened.plan.protocols)
    training_s = sum(
        each.steps * timed.step_s(spec.size, each.classes, each.batch_size)
        for each in trainings
        if each.left
    )
    return Cost(part, look, seconds, trainings, training_s)


def _trainings(opened: Opened, paths: StudyPaths, part: Part, look: Preview, protocol: str) -> Trainings:
    copy = opened.copies[part.dataset.name]
    if look.files:
        windows = expected_windows(copy, look)
        return expected_trainings(opened.plan, part, copy, protocol, windows)
    cell = plan_cell(opened, paths, part, protocol)  # all is embedded: nothing has to be guessed
    classes, batch_size = len(cell.plan.classes), cell.plan.batch_size
    return Trainings(protocol, len(cell.todo), len(cell.folds), classes, batch_size, cell.load)


def _totals(args: argparse.Namespace, costs: list[Cost]) -> dict[str, Any]:
    free = usable_memory()
    todo = [each for cost in costs for each in cost.trainings if each.left]
    beside = min(args.workers, len(todo))
    memory = beside * max((each.load.memory_bytes for each in todo), default=0)
    return {
        "windows": sum(cost.preview.windows for cost in costs),
        "audio_s": sum(cost.preview.audio_s for cost in costs),
        "output_bytes": sum(cost.preview.output_bytes for cost in costs),
        "embedding_s": sum(cost.embedding_s for cost in costs),
        "trainings": sum(cost.left for cost in costs),
        "training_s_at_most": sum(cost.training_s for cost in costs),
        "memory_bytes": memory,
        "usable_memory_bytes": free,
        "fits": memory <= free,
    }


def _facts(
    args: argparse.Namespace, opened: Opened, paths: StudyPaths, costs: list[Cost]
) -> dict[str, Any]:
    parts = [
        {
            "dataset": cost.part.dataset.name,
            "embedding": cost.part.embedding.name,
            "files": cost.preview.files,
            "windows": cost.preview.windows,
            "audio_s": cost.preview.audio_s,
            "output_bytes": cost.preview.output_bytes,
            "embedding_s": cost.embedding_s,
            "trainings": cost.left,
            "training_s_at_most": cost.training_s,
        }
        for cost in costs
    ]
    missing = [
        {"dataset": part.dataset.name, "embedding": part.embedding.name, "reason": part.reason}
        for part in opened.missing
    ]
    ending = {"status": "dry-run", "exit_code": DONE, "message": "", "output": paths.root}
    return ending | _totals(args, costs) | {"parts": parts, "missing": missing}


def _print(args: argparse.Namespace, opened: Opened, costs: list[Cost]) -> None:
    for part in opened.missing:
        print(printable(f"{part.dataset.name}, {part.embedding.name}: left out: {part.reason}"))
    for cost in costs:
        look = cost.preview
        embedding = "embedded before"
        if look.windows:
            embedding = (
                f"{look.windows} windows from {duration(look.audio_s)} of audio, "
                f"{size(look.output_bytes)}, {duration(cost.embedding_s)}"
            )
        training = f"{cost.left} trainings, at most {duration(cost.training_s)}"
        name = printable(f"{cost.part.dataset.name}, {cost.part.embedding.name}")
        print(f"{name}: {embedding}; {training if cost.left else 'trained before'}")
    total = _totals(args, costs)
    refused = "" if total["fits"] else ": the run would be refused"
    print(
        f"together: {total['windows']} windows, {duration(total['audio_s'])} of audio, "
        f"{size(total['output_bytes'])} on disk, {total['trainings']} trainings"
    )
    print(
        f"memory: {size(total['memory_bytes'])}, of {size(total['usable_memory_bytes'])} that are "
        f"free{refused}"
    )
    print(
        f"time: about {duration(total['embedding_s'])} to embed here, and "
        f"{duration(total['training_s_at_most'])} to train if no model stops early"
    )
