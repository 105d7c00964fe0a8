"""A Flink cluster as its REST interface shows it."""

import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import requests

from l3core.errors import RunError, UsageError
from launch.runners import NoAnswerError

ANSWER_WITHIN_S = 10.0
# A JobManager that restarts is away for a while; one that is away for longer has lost its jobs.
AWAY_AT_MOST_S = 60.0
CANCELLED_WITHIN_S = 60.0
POLL_S = 0.5

FINISHED, FAILED, CANCELED = "FINISHED", "FAILED", "CANCELED"
ENDED = (FINISHED, FAILED, CANCELED)

# What asking ends with where another service answers, and where none does.
_NOT_FLINK = (requests.JSONDecodeError, KeyError, TypeError, AttributeError)
_TROUBLE = (requests.RequestException, *_NOT_FLINK)


class Slots(NamedTuple):
    """What there is of a cluster.

    Attributes:
        task_managers: that have registered.
        total: slots.
        free: slots that no job has.
    """

    task_managers: int
    total: int
    free: int


class Job(NamedTuple):
    """A job: Flink's id, its name, and its state as Flink calls it."""

    id: str
    name: str
    state: str


class FlinkCluster:
    """A session cluster.

    Args:
        url: of its REST interface, as `http://host:8081`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._away_since: float | None = None

    def version(self) -> str:
        """Flink's version, as 1.19.0.

        Raises:
            UsageError: nothing answers there, or no Flink does.
        """
        try:
            found = self._get("/config")
        except requests.JSONDecodeError:
            found = None
        except requests.RequestException as error:
            raise UsageError(
                f"--flink-master: no Flink answers at {self.url} ({_why(error)}): name the host "
                "and port of its REST interface, or start a cluster on this machine with l3flow flink up"
            ) from None
        if not isinstance(found, dict) or "flink-version" not in found:
            raise UsageError(f"--flink-master: what answers at {self.url} is not Flink")
        return str(found["flink-version"])

    def slots(self) -> Slots:
        """TaskManagers and slots.

        Raises:
            NoAnswerError: here and from all that asks a cluster.
        """
        with self._asking():
            overview = self._get("/overview")
            return Slots(overview["taskmanagers"], overview["slots-total"], overview["slots-available"])

    def is_here(self) -> bool:
        """Whether its TaskManagers are on this machine; the REST interface may be a tunnel's end."""
        with self._asking():
            paths = [each["path"] for each in self._get("/taskmanagers")["taskmanagers"]]
        hosts = {urlsplit("//" + path.rpartition("@")[2]).hostname for path in paths}
        return hosts <= {"localhost", "127.0.0.1", "::1", socket.gethostname()}

    def restarts(self) -> bool:
        """Whether the cluster tries a job again that has failed: batch jobs have no say in it."""
        with self._asking():
            found = {each["key"]: each["value"] for each in self._get("/jobmanager/config")}
        names = ("restart-strategy.type", "restart-strategy")
        strategy = next((found[name] for name in names if name in found), "none")
        return strategy.lower() not in ("none", "off", "disable")

    def jobs(self) -> list[Job]:
        """The jobs that it knows, those that have ended among them."""
        with self._asking():
            found = self._get("/jobs/overview")["jobs"]
            return [Job(job["jid"], job["name"], job["state"]) for job in found]

    def state(self, job_id: str) -> str | None:
        """Flink's word for how a job is; None while the cluster is away for a moment.

        Raises:
            RunError: the cluster has no such job any more, or is away for too long.
        """
        try:
            state = self._get(f"/jobs/{job_id}")["state"]
        except requests.HTTPError as error:
            if error.response.status_code == requests.codes.not_found:
                raise RunError(
                    f"the cluster at {self.url} does not know job {job_id} any more: it was restarted"
                ) from None
            self._note_away(error)
            return None
        except _TROUBLE as error:
            self._note_away(error)
            return None
        self._away_since = None
        return str(state)

    def failure(self, job_id: str) -> str:
        """What made a job fail: Java's words, with what Python said among them."""
        with self._asking():
            found = self._get(f"/jobs/{job_id}/exceptions").get("root-exception")
        return str(found or "the cluster does not say why")

    def cancel(self, job_id: str) -> str:
        """Stop a job, and wait until it has; returns the state in which it ended.

        Raises:
            RunError: it is still running after a minute.
        """
        url, told = f"{self.url}/jobs/{job_id}", False
        until = time.monotonic() + CANCELLED_WITHIN_S
        try:
            while time.monotonic() < until:
                if not told:  # a JobManager that starts refuses what it would do a moment later
                    told = requests.patch(url, params={"mode": "cancel"}, timeout=ANSWER_WITHIN_S).ok
                state = self.state(job_id)
                if state in ENDED:
                    return state
                time.sleep(POLL_S)
        except requests.RequestException as error:
            raise RunError(f"job {job_id} at {self.url} could not be stopped: {_why(error)}") from None
        raise RunError(f"job {job_id} at {self.url} was told to stop and is still running")

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except _TROUBLE as error:
            raise NoAnswerError(f"the cluster at {self.url} does not answer: {_why(error)}") from None

    def _note_away(self, error: Exception) -> None:
        now = time.monotonic()
        self._away_since = self._away_since or now
        if now - self._away_since > AWAY_AT_MOST_S:
            raise NoAnswerError(f"the cluster at {self.url} does not answer any more: {_why(error)}")

    def _get(self, path: str) -> Any:
        answer = requests.get(self.url + path, timeout=ANSWER_WITHIN_S)
        answer.raise_for_status()
        return answer.json()


def _why(error: Exception) -> str:
    """The cause of a failed request in a few words."""
    if isinstance(error, requests.Timeout):
        return f"no answer within {ANSWER_WITHIN_S:.0f} s"
    if isinstance(error, requests.HTTPError):
        return f"HTTP {error.response.status_code}"
    if isinstance(error, _NOT_FLINK):
        return "what answers is not Flink"
    found = re.search(r"\[Errno -?\d+\] ([^'\")]+)", str(error))
    return found[1] if found else type(error).__name__
