"""A server on this machine that answers as a Flink cluster's REST interface does."""

import http.server
import json
import sys
import threading
from contextlib import contextmanager

VERSION = "1.19.0"


class _Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        self.server.log.append(f"{self.command} {self.path}")
        answers = self.server.answers
        status, content = answers[self.path]() if self.path in answers else (404, {"errors": ["none"]})
        self.answer(status, content)

    def do_PATCH(self):
        self.server.log.append(f"{self.command} {self.path}")
        job_id = self.path.partition("?")[0].rpartition("/")[2]
        if self.path.endswith("?mode=cancel") and job_id in self.server.jobs:
            self.server.jobs[job_id][1] = self.server.cancelled
            self.answer(202, {})
        else:
            self.answer(404, {"errors": ["none"]})

    def answer(self, status, content):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class FlinkRest(http.server.ThreadingHTTPServer):
    """A cluster.

    Attributes: `url`, `port`; `answers`, path -> function that gives a status and what is said; `jobs`,
    id -> [name, state], see `add_job`; `log` of requests; `cancelled`, the state of a job that is told
    to stop.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("localhost", 0), _Handler)
        self.port = self.server_address[1]
        self.url = f"http://localhost:{self.port}"
        self.log = []
        self.jobs = {}
        self.cancelled = "CANCELED"
        self.answers = {"/jobs/overview": self._jobs}
        self.say("/config", {"refresh-interval": 3000, "flink-version": VERSION, "features": {}})
        self.say("/overview", {"taskmanagers": 2, "slots-total": 4, "slots-available": 3})
        self.say("/jobmanager/config", [])
        self.on("localhost")

    def handle_error(self, request, client_address):
        """A client that is interrupted hangs up."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def say(self, path, content, status=200):
        """Answer so from now on."""
        self.answers[path] = lambda: (status, content)

    def on(self, *hosts):
        """Let TaskManagers be on these machines."""
        paths = [f"pekko.tcp://flink@{host}:4{n}/user/rpc/taskmanager_0" for n, host in enumerate(hosts)]
        self.say("/taskmanagers", {"taskmanagers": [{"path": path} for path in paths]})

    def add_job(self, job_id, name, state="RUNNING", why=None):
        """Know a job; `why` it failed is what Java says."""
        self.jobs[job_id] = [name, state]
        self.answers[f"/jobs/{job_id}"] = lambda: (200, {"jid": job_id, "state": self.jobs[job_id][1]})
        self.say(f"/jobs/{job_id}/exceptions", {"root-exception": why, "timestamp": 1})

    def _jobs(self):
        jobs = self.jobs.items()
        return 200, {"jobs": [{"jid": jid, "name": name, "state": state} for jid, (name, state) in jobs]}


@contextmanager
def flink_rest():
    """A `FlinkRest` that serves while the block runs."""
    with FlinkRest() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
