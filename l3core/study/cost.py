"""What a study would take: windows, hours, disk and trainings, before any of it is done."""

from typing import NamedTuple

from l3core.crossval.planning import Load, load_of
from l3core.crossval.protocols import PROTOCOLS
from l3core.datasets import DatasetCopy
from l3core.study.opening import Part
from l3core.study.plan import StudyPlan
from l3core.table.preview import Preview


class Trainings(NamedTuple):
    """The trainings of a cell that are left to do.

    Attributes:
        protocol: of the cell.
        left: how many.
        of: of all.
        classes: to tell apart.
        batch_size: windows in a step.
        load: how much all of them are.
    """

    protocol: str
    left: int
    of: int
    classes: int
    batch_size: int
    load: Load

    @property
    def steps(self) -> float:
        """Of those that are left, if every model used all of its epochs."""
        return self.load.steps * self.left / self.of


def expected_windows(copy: DatasetCopy, preview: Preview) -> int:
    """Windows of a dataset, if its clips have as many as those that are to be embedded."""
    return round(preview.windows / preview.files * len(copy.clips))


def expected_trainings(
    plan: StudyPlan, part: Part, copy: DatasetCopy, protocol: str, windows: int
) -> Trainings:
    """The trainings of a cell whose features are not there yet.

    Args:
        plan: of the study.
        part: dataset and embedding.
        copy: of the dataset.
        protocol: of the cell.
        windows: of the dataset.
    """
    assert part.embedding.spec is not None
    rules = PROTOCOLS[protocol]
    repeats = part.dataset.repeats or rules.repeats(part.dataset.name)
    batch_size = plan.batch_size or rules.batch_size(windows)
    clips = len(copy.clips)
    others = [sum(clip.fold != fold for clip in copy.clips) for fold in copy.dataset.test_folds]
    classes = len({clip.label for clip in copy.clips})
    load = load_of(
        [windows * count // clips for count in others for _ in range(repeats)],
        windows=windows,
        size=part.embedding.spec.size,
        classes=classes,
        batch_size=batch_size,
        epochs=plan.epochs,
    )
    count = len(others) * repeats
    return Trainings(protocol, count, count, classes, batch_size, load)
