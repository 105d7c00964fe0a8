"""What Google's launcher of Flex Templates runs: plans a run, writes its job, and does not wait.

The launcher (`python_template_launcher`) gets `FLEX_TEMPLATE_PYTHON_PY_FILE`, this file, and calls it
with the parameters of the launch and options of Beam, all as `--name=value`, among them
`--template_location`: Beam then writes the job there and submits nothing. When this process has ended
well, Google makes that the work of the job that it made before. A process that ends well and has written
nothing is a failed launch ("Failed to read the job file",
docs.cloud.google.com/dataflow/docs/guides/troubleshoot-templates, March 2026), so a run that finds
nothing to do, or another one at work with `if_running` skip, writes a job that does nothing.
"""

import logging
import sys
from collections.abc import Sequence
from dataclasses import replace

from l3core import storage
from launch import embed
from launch.dataflow.launched import launched
from launch.dataflow.run import DataflowRunner
from launch.exits import DONE, FAILED, ending_of
from launch.output import plain_output
from launch.quiet import quiet_libraries
from launch.runners import Runner
from launch.words import printable


def main(argv: Sequence[str]) -> int:
    """Launch; returns the exit code, and says what is wrong in one line."""
    with plain_output():
        try:
            return _launch(argv)
        except SystemExit as stop:  # it has been told
            return stop.code if isinstance(stop.code, int) else FAILED
        except Exception as error:
            ending = ending_of(error, "template")
            if ending is None:
                raise
            print(f"l3flow: {printable(ending.message)}", file=sys.stderr)
            return ending.code


def _launch(argv: Sequence[str]) -> int:
    found = launched(argv)
    for option in found.ignored:
        print(f"l3flow: {printable(option)} is not known here, and left out", file=sys.stderr)
    adapted: list[DataflowRunner] = []

    def adapt(runner: Runner | None) -> Runner:
        assert isinstance(runner, DataflowRunner)
        adapted.append(replace(runner, launch=found.launch))
        return adapted[0]

    code = embed.run(found.argv, embed.build_parser("l3flow embed"), adapt=adapt)
    if code == DONE and not storage.is_object(found.launch.template):
        with quiet_libraries(None):
            adapted[0].idle()
    return code


if __name__ == "__main__":
    logging.getLogger().addHandler(logging.NullHandler())  # or Python prints what libraries log
    sys.exit(main(sys.argv[1:]))
