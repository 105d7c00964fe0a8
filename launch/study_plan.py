"""What a command line of `l3flow study` means: its plan, and where the results go."""

import argparse

from l3core import storage
from l3core.errors import UsageError
from l3core.study.paths import StudyPaths
from l3core.study.plan import StudyPlan, preset_text, read_plan
from l3core.table.layout import TablePaths
from l3core.urls import refuse_web
from launch.options import naming


def planned(args: argparse.Namespace) -> tuple[StudyPlan, StudyPaths]:
    """The plan, checked, and the places of the results.

    Raises:
        UsageError: what is wrong with either.
    """
    paths = _output(args.output)
    roots = dict(args.dataset_roots)
    if args.preset is not None:
        with naming("--preset"):
            text = preset_text(args.preset)
        return read_plan(text, f"--preset {args.preset}", roots), paths
    try:
        content = storage.read_bytes(args.plan)
    except (FileNotFoundError, IsADirectoryError):
        raise UsageError(f"no plan at {args.plan}") from None
    return read_plan(content, args.plan, roots), paths


def _output(output: str) -> StudyPaths:
    with naming("--output"):
        refuse_web(output)
        paths = StudyPaths(storage.absolute(output).rstrip("/"))
    if not storage.is_folder_or_absent(paths.root):
        raise UsageError(f"--output {output} is a file; the results need a folder")
    if storage.is_object(TablePaths(paths.root).table):
        raise UsageError(f"--output {output} is a feature table; name a folder for the results")
    return paths
