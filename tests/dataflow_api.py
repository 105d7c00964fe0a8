"""A server on this machine that speaks the part of Dataflow's API (v1b3) that jobs need."""

import http.server
import json
import re
import threading
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import fsspec
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

JOBS = re.compile(r"/v1b3/projects/(?P<project>[^/]+)/locations/(?P<region>[^/]+)/jobs(?P<rest>/.*)?")


class _Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        self._handle()

    def do_POST(self):
        self._handle()

    def do_PUT(self):
        self._handle()

    def _handle(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, content = self.server.answer(self.command, self.path, json.loads(body or b"null"))
        said = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)


def problem(code, status, message):
    """An answer of Google's services that something is wrong."""
    return code, {"error": {"code": code, "status": status, "message": message}}


class DataflowApi(http.server.ThreadingHTTPServer):
    """Attributes: `url`; `jobs`, id -> job as the API shows it; `messages`, id -> those of a job;
    `submitted`, the bodies of what was created; `refusal`, answered to what is submitted; `on_create`,
    called with a new job; `log` of requests.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("localhost", 0), _Handler)
        self.url = f"http://localhost:{self.server_address[1]}"
        self.jobs, self.messages, self.submitted, self.log = {}, {}, [], []
        self.refusal = None
        self.on_create = lambda job: None

    def master(self, project="my-project", region="us-central1"):
        """Where jobs are, as locks have it."""
        return f"{self.url}/v1b3/projects/{project}/locations/{region}"

    def add_job(self, job_id, name, state="JOB_STATE_RUNNING", errors=()):
        """Know a job; `errors` are the texts of its messages."""
        self.jobs[job_id] = {"id": job_id, "name": name, "currentState": state}
        self.messages[job_id] = [
            {"id": str(n), "messageText": text, "messageImportance": "JOB_MESSAGE_ERROR"}
            for n, text in enumerate(errors)
        ]
        return self.jobs[job_id]

    def answer(self, method, path, body):
        """Status and content."""
        parts = urlsplit(path)
        self.log.append(f"{method} {parts.path}")
        match = JOBS.fullmatch(parts.path)
        if match is None:
            return problem(404, "NOT_FOUND", "no such method")
        asked = parse_qs(parts.query)
        job_id, _, of = (match["rest"] or "").strip("/").partition("/")
        if method == "POST" and not job_id:
            return self._create(body)
        if not job_id:
            names = asked.get("name")
            return 200, self._page(
                [j for j in self.jobs.values() if not names or j["name"] in names], asked
            )
        if job_id not in self.jobs:
            return problem(404, "NOT_FOUND", f"({job_id}): information about job is missing")
        if of == "messages":
            least = asked["minimumImportance"]
            assert least == ["JOB_MESSAGE_ERROR"]
            return 200, self._page(self.messages[job_id], asked, field="jobMessages")
        if method == "PUT":
            self.jobs[job_id]["currentState"] = body["requestedState"]
        return 200, self.jobs[job_id]

    def _create(self, body):
        if self.refusal:
            return self.refusal
        self.submitted.append(body)
        job = self.add_job(f"2026-11-26_00_00_{len(self.submitted):02}-1", body["name"])
        job["clientRequestId"] = body["clientRequestId"]
        self.on_create(job)
        return 200, job

    @staticmethod
    def _page(found, asked, field="jobs"):
        """One at a time, to be sure that all pages are asked for."""
        at = int(asked.get("pageToken", ["0"])[0])
        page = {field: found[at : at + 1]} if found else {}
        return page | ({"nextPageToken": str(at + 1)} if at + 1 < len(found) else {})


@contextmanager
def dataflow_api():
    """A `DataflowApi` that serves while the block runs."""
    with DataflowApi() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def staged(job):
    """The pipeline that the workers of a job would be given, out of the store."""
    url = job["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"]
    with fsspec.open(url, "rb") as file:
        return beam_runner_api_pb2.Pipeline.FromString(file.read())


def run_staged(job, *, in_containers=False):
    """Run the pipeline of a job in this process, or in its image by `docker`; its result."""
    proto = staged(job)
    [here] = proto.components.environments.values()  # one pool of machines
    if not in_containers:
        here.urn, here.payload = python_urns.EMBEDDED_PYTHON, b""
    return FnApiRunner().run_via_runner_api(proto, PipelineOptions(runner="FnApiRunner"))
