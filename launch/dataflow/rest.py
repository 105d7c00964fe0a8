"""Jobs as the REST interface of Dataflow shows them (v1b3)."""

import re
import time
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import requests
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError

from l3core.errors import RunError, UsageError
from launch.dataflow.causes import refusal
from launch.runners import NoAnswerError

ENDPOINT = "https://dataflow.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
ANSWER_WITHIN_S = 30.0
AWAY_AT_MOST_S = 300.0
CANCELLED_WITHIN_S = 600.0  # machines are given back before the service says so
POLL_S = 5.0

DONE, FAILED, CANCELLED = "JOB_STATE_DONE", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED"
ENDED = (DONE, FAILED, CANCELLED, "JOB_STATE_UPDATED", "JOB_STATE_DRAINED")

_MASTER = re.compile(r"(?P<endpoint>.+)/v1b3/projects/(?P<project>[^/]+)/locations/(?P<region>[^/]+)")
_NO_SUCH_JOB = (400, 404)  # of what may be no id at all
_TROUBLE = (requests.RequestException, GoogleAuthError, KeyError, TypeError, AttributeError)


class Job(NamedTuple):
    """A job: Dataflow's id, its name, and its state as Dataflow calls it."""

    id: str
    name: str
    state: str


def endpoint_of(given: str) -> str:
    """An endpoint that may be asked: Google's, or one on this machine.

    What a lock of a table says must not get our credentials sent to anybody else.

    Raises:
        UsageError: it is another.
    """
    url = given.rstrip("/")
    try:
        parts = urlsplit(url)
        here = parts.scheme == "http" and parts.hostname == "localhost" and parts.port is not None
        here = here and not parts.username
    except ValueError:
        here = False
    if url != ENDPOINT and not here:
        raise UsageError(f"--dataflow_endpoint needs {ENDPOINT} or http://localhost:PORT, got {given!r}")
    return url


class DataflowService:
    """Dataflow in a project and a region.

    Args:
        endpoint: URL of the service.
        project: id.
        region: as `us-central1`.
    """

    def __init__(self, endpoint: str, project: str, region: str) -> None:
        self.endpoint, self.project, self.region = endpoint_of(endpoint), project, region
        self._away_since: float | None = None
        self._session: requests.Session | None = None

    @classmethod
    def from_master(cls, master: str) -> "DataflowService":
        """The service that a job names.

        Raises:
            NoAnswerError: it names none.
        """
        match = _MASTER.fullmatch(master)
        try:
            if match:
                return cls(match["endpoint"], match["project"], match["region"])
        except UsageError:
            pass
        raise NoAnswerError(f"{master} is no Dataflow that can be asked")

    @property
    def master(self) -> str:
        """Where jobs are, as they have it."""
        return f"{self.endpoint}/v1b3/projects/{self.project}/locations/{self.region}"

    @property
    def is_local(self) -> bool:
        """Whether it is an endpoint on this machine, which gets no credentials."""
        return self.endpoint != ENDPOINT

    def jobs(self, name: str | None = None) -> list[Job]:
        """The jobs that it knows, those that have ended among them.

        Args:
            name: only those of this name.

        Raises:
            NoAnswerError: it does not answer.
        """
        query = {"name": name} if name else {}
        try:
            self.log_in()
            found = self._pages("/jobs", "jobs", query)
            jobs = [Job(job["id"], job["name"], str(job.get("currentState"))) for job in found]
        except UsageError as error:
            raise NoAnswerError(str(error)) from None
        except _TROUBLE as error:
            raise NoAnswerError(f"Dataflow at {self.master} does not answer: {why(error)}") from None
        return [job for job in jobs if name in (None, job.name)]

    def state(self, job_id: str) -> str | None:
        """Dataflow's word for how a job is; None while the service is away for a moment.

        Raises:
            NoAnswerError: it is away for too long.
        """
        try:
            state = self._ask("GET", f"/jobs/{quote(job_id, safe='')}").get("currentState")
        except _TROUBLE as error:
            now = time.monotonic()
            self._away_since = self._away_since or now
            if now - self._away_since > AWAY_AT_MOST_S:
                raise NoAnswerError(
                    f"Dataflow at {self.master} does not answer any more: {why(error)}"
                ) from None
            return None
        self._away_since = None
        return str(state)

    def name(self, job_id: str) -> str | None:
        """The name of a job; None if there is none with this id.

        Raises:
            NoAnswerError: it does not answer.
        """
        try:
            return str(self._ask("GET", f"/jobs/{quote(job_id, safe='')}")["name"])
        except UsageError as error:
            raise NoAnswerError(str(error)) from None
        except _TROUBLE as error:
            if isinstance(error, requests.HTTPError) and error.response.status_code in _NO_SUCH_JOB:
                return None
            raise NoAnswerError(f"Dataflow at {self.master} does not answer: {why(error)}") from None

    def errors(self, job_id: str) -> list[str]:
        """What the service says went wrong in a job, oldest first."""
        query = {"minimumImportance": "JOB_MESSAGE_ERROR"}
        path = f"/jobs/{quote(job_id, safe='')}/messages"
        try:
            found = self._pages(path, "jobMessages", query)
            return [str(each.get("messageText", "")) for each in found]
        except _TROUBLE as error:
            raise NoAnswerError(f"Dataflow at {self.master} does not answer: {why(error)}") from None

    def cancel(self, job_id: str) -> str:
        """Stop a job, and wait until it has; returns the state in which it ended.

        Raises:
            RunError: it could not be told, or is still running after ten minutes.
        """
        until = time.monotonic() + CANCELLED_WITHIN_S
        try:
            self._ask("PUT", f"/jobs/{quote(job_id, safe='')}", json={"requestedState": CANCELLED})
        except _TROUBLE as error:
            raise RunError(f"Dataflow job {job_id} could not be stopped: {why(error)}") from None
        while time.monotonic() < until:
            state = self.state(job_id)
            if state in ENDED:
                return state
            time.sleep(POLL_S)
        raise RunError(f"Dataflow job {job_id} was told to stop and is still running")

    def launch_template(self, request: dict[str, Any]) -> Job | None:
        """Launch a Flex Template; returns its job, None if it was only to be validated.

        Args:
            request: `LaunchFlexTemplateRequest` of the API.

        Raises:
            RunError: the service refuses it, or does not answer.
        """
        try:
            job = self._ask("POST", "/flexTemplates:launch", json=request).get("job") or {}
            if request.get("validateOnly"):
                return None
            return Job(job["id"], job["name"], str(job.get("currentState")))
        except requests.HTTPError as error:
            raise RunError(refusal(error.response.status_code, _message(error.response))) from None
        except _TROUBLE as error:
            raise RunError(f"Dataflow at {self.master} does not answer: {why(error)}") from None

    def _pages(self, path: str, field: str, query: dict[str, str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        token = ""
        while True:
            answer = self._ask("GET", path, params=query | ({"pageToken": token} if token else {}))
            found += answer.get(field, [])
            token = answer.get("nextPageToken", "")
            if not token:
                return found

    def log_in(self) -> requests.Session:
        """A session with credentials where they are needed.

        Raises:
            UsageError: there are none.
        """
        if self._session is None:
            self._session = requests.Session() if self.is_local else _authorized()
        return self._session

    def _ask(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        answer = self.log_in().request(method, self.master + path, timeout=ANSWER_WITHIN_S, **more)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


def _authorized() -> requests.Session:
    """A session with the user's credentials.

    Raises:
        UsageError: there are none.
    """
    import google.auth
    from google.auth.transport.requests import AuthorizedSession

    try:
        credentials, _ = google.auth.default(scopes=[SCOPE])
    except DefaultCredentialsError:
        raise UsageError(
            "--runner dataflow needs Google's credentials: gcloud auth application-default login, or "
            "GOOGLE_APPLICATION_CREDENTIALS"
        ) from None
    session: requests.Session = AuthorizedSession(credentials)
    return session


def _message(answer: requests.Response) -> str:
    """What an answer of Google's says is wrong."""
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return answer.reason


def why(error: Exception) -> str:
    """The cause of a failed request in a few words."""
    if isinstance(error, requests.Timeout):
        return f"no answer within {ANSWER_WITHIN_S:.0f} s"
    if isinstance(error, requests.HTTPError):
        return f"HTTP {error.response.status_code}"
    if isinstance(error, (requests.JSONDecodeError, KeyError, TypeError, AttributeError)):
        return "what answers is not Dataflow"
    found = re.search(r"\[Errno -?\d+\] ([^'\")]+)", str(error))
    return found[1] if found else type(error).__name__
