"""What a command line of `l3flow study` means: its plan, where results go, and what there is of it."""

import argparse

from l3core import storage
from l3core.errors import UsageError
from l3core.study.opening import Opened, open_study
from l3core.study.paths import StudyPaths
from l3core.study.plan import StudyPlan, preset_text, read_plan
from launch.options import naming
from launch.places import reach_places
from launch.screen import SHOWN_AFTER_S, Steps, showing_progress
from launch.tables import results_folder


def planned(args: argparse.Namespace) -> tuple[StudyPlan, StudyPaths]:
    """The plan, checked, and the places of the results; all stores that they name have answered.

    Raises:
        UsageError: what is wrong with either.
    """
    reach_places({"--output": args.output, "PLAN.toml": args.plan})
    paths = StudyPaths(results_folder(args.output))
    plan = _plan(args)
    for each in plan.datasets:
        where = f"datasets.{each.name}"
        reach_places({f"{where}: root": each.root, f"{where}: table": each.table})
    _check_tables(plan, paths)
    return plan, paths


def _plan(args: argparse.Namespace) -> StudyPlan:
    roots = dict(args.dataset_roots)
    if args.preset is not None:
        with naming("--preset"):
            text = preset_text(args.preset)
        return read_plan(text, f"--preset {args.preset}", roots)
    try:
        content = storage.read_bytes(args.plan)
    except (FileNotFoundError, IsADirectoryError):
        raise UsageError(f"no plan at {args.plan}") from None
    return read_plan(content, args.plan, roots)


def _check_tables(plan: StudyPlan, paths: StudyPaths) -> None:
    for each in plan.datasets:
        if each.table is None:
            continue
        root = paths.table(each).root
        if root == paths.root:
            raise UsageError(f"datasets.{each.name}: table {each.table} is the --output; name another")
        if not storage.is_folder_or_absent(root):
            raise UsageError(f"datasets.{each.name}: table {each.table} is a file, and needs a folder")


def look_for(args: argparse.Namespace, plan: StudyPlan) -> Opened:
    """What there is of a study; shows whose weights are looked for, since that may be to fetch them.

    Raises:
        UsageError: something is missing, and is not to be skipped, or nothing is left.
    """
    names = [each.name for each in plan.embeddings]
    now = names[0]

    def look() -> Steps:
        return Steps(names.index(now), len(names))

    def describe(steps: Steps, seconds: float) -> str:
        return f"looking for the weights of {now}"

    def looking(name: str) -> None:
        nonlocal now
        now = name

    quiet = args.quiet or args.json
    with showing_progress(look, describe, quiet=quiet, after_s=SHOWN_AFTER_S):
        return open_study(plan, skip_missing=args.skip_missing, looking=looking)
