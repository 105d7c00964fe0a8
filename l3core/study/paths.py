"""Where everything of a study lies.

OUT/study.html, study.json            the page, and the facts of the study
OUT/scores, cells, tests              .parquet and .csv: trainings, cells and tests of significance
OUT/cells/<dataset>/<embedding>/<protocol>/   what `l3flow crossval` leaves, report and all
OUT/tables/<dataset>/                 features, unless the plan names a table
OUT/_study/                           ours: lists of clips, and how long embedding took
"""

from dataclasses import dataclass

from l3core import storage
from l3core.crossval.plan import OutputPaths
from l3core.study.chosen import StudyEmbedding
from l3core.study.plan import StudyDataset
from l3core.table.layout import TablePaths, place_below


@dataclass(frozen=True)
class StudyPaths:
    """Where everything of a study lies; `root` is the output's own URI."""

    root: str

    def at(self, relative: str) -> str:
        """URI of a path below the output."""
        return place_below(self.root, relative, "the output")

    @property
    def page(self) -> str:
        """The page."""
        return self.at("study.html")

    @property
    def facts(self) -> str:
        """The facts of the study."""
        return self.at("study.json")

    def table(self, dataset: StudyDataset) -> TablePaths:
        """A dataset's features."""
        named = dataset.table or self.at(f"tables/{dataset.name}")
        return TablePaths(storage.absolute(named).rstrip("/"))

    def cell(self, dataset: StudyDataset, embedding: StudyEmbedding, protocol: str) -> OutputPaths:
        """What a cross-validation leaves."""
        return OutputPaths(self.at(f"cells/{dataset.name}/{embedding.slug}/{protocol}"))

    def clips(self, dataset: StudyDataset) -> str:
        """The list of a dataset's clips."""
        return self.at(f"_study/{dataset.name}.jsonl")

    def embedded(self, dataset: StudyDataset, embedding: StudyEmbedding) -> str:
        """What embedding a dataset took."""
        return self.at(f"_study/embedded/{dataset.name}/{embedding.slug}.json")
