"""What the service refuses, or what made a job fail, in one line."""

import re
from collections.abc import Sequence

from launch.words import OUR_ERROR

# HTTP status of an answer -> what to do.
REMEDIES = {
    401: "log in: gcloud auth application-default login",
    403: "the account needs roles/dataflow.developer in the project and roles/iam.serviceAccountUser on "
    "that of the workers, and the Dataflow API enabled",
    409: "a job of this name is there already: run again, which takes another name",
    429: "a quota of the project is used up: wait, ask for more, or for fewer --workers",
}
_STEP = re.compile(r" \[while running .*\]$")
_REQUEST = re.compile(r"^[A-Z]+ https?://\S+: ")  # Google's client puts it before the words
_UNINFORMATIVE = ("work item was attempted", "Workflow failed")


def refusal(code: int | None, message: str) -> str:
    """Why the service did not take a job."""
    words = _REQUEST.sub("", " ".join(message.split())) or "without a word"
    remedy = f" ({REMEDIES[code]})" if code in REMEDIES else ""
    return f"Dataflow refused the job: {words}{remedy}"


def cause_of(messages: Sequence[str]) -> str:
    """Python's error if the messages have one, else the last that says something.

    Args:
        messages: of a job's errors, oldest first.
    """
    for message in reversed(messages):
        if "Traceback (most recent call last)" in message:
            lines = [line.strip() for line in message.splitlines() if line.strip()]
            errors = [line for line in lines if re.match(r"[A-Za-z_][\w.]*(Error|Exception)\b", line)]
            return OUR_ERROR.sub("", _STEP.sub("", (errors or lines)[-1]))
    telling = [each for each in messages if not any(word in each for word in _UNINFORMATIVE)]
    found = telling or list(messages)
    return " ".join(found[-1].split()) if found else "the job failed, and the service does not say why"
