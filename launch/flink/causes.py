"""What made a job fail, in one line: out of Java's stack traces."""

import re

from launch.words import OUR_ERROR

# What Java says of troubles that have a remedy.
KNOWN = {
    "Failed to deserialize JobGraph": "the cluster's Flink is of another version than the job server's",
    "NoResourceAvailableException": "the cluster has no free slot: wait, or add TaskManagers",
    'Cannot run program "l3flow-harness"': "the TaskManagers have no l3flow-harness in their PATH: "
    "l3flow must be installed there",
    "OutOfMemoryError": "a Java process ran out of memory: give TaskManagers more",
    "HTTP status 413": "the cluster refuses uploads of this size: raise rest.server.max-content-length",
}
_PYTHON = re.compile(r"Traceback \(most recent call last\):.*?(?=^\tat |\Z)", re.DOTALL | re.MULTILINE)
_STEP = re.compile(r" \[while running .*\]$")


def cause_of(text: str) -> str:
    """The Python error if there is one, else what Java says at last.

    Args:
        text: of an exception of a job, stack traces included.
    """
    if found := _PYTHON.findall(text):
        lines = [line.strip() for line in found[-1].splitlines() if line.strip()]
        return OUR_ERROR.sub("", _STEP.sub("", lines[-1]))
    for sign, words in KNOWN.items():
        if sign in text:
            return words
    refused = re.search(r"Connection refused: (\S+)", text)
    if refused:
        return f"nothing answers at {refused[1]}: is the worker pool there running?"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    if causes:
        return causes[-1]
    return lines[0] if lines else "the job failed without a word"
