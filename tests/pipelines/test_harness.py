"""The boot program of Python workers: its share of the machine, and what becomes of it."""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest
from apache_beam.portability.api import beam_fn_api_pb2 as fn_api
from apache_beam.portability.api import beam_fn_api_pb2_grpc as fn_api_grpc
from apache_beam.portability.api import beam_provision_api_pb2 as provision
from apache_beam.portability.api import beam_provision_api_pb2_grpc as provision_grpc
from apache_beam.portability.api import endpoints_pb2
from google.protobuf import json_format, struct_pb2, text_format

from l3core.machine import usable_cores
from launch.flink.job_server import free_port
from pipelines import harness
from pipelines.harness import main, share_of_machine
from tests.processes import wait_until

REPOSITORY = Path(__file__).parents[2]
GPUS, THREADS = "CUDA_VISIBLE_DEVICES", "TF_NUM_INTRAOP_THREADS"
# takes its share, becomes another program as a harness does, and is that until its input ends
TAKES_ITS_SHARE = """
import os, sys
from pipelines.harness import share_of_machine
print(share_of_machine(1, os.environ).get("CUDA_VISIBLE_DEVICES"), flush=True)
os.execv(sys.executable, [sys.executable, "-c", "import sys; sys.stdin.read()"])
"""
# root could open anything
TAKES_IT_AS_NOBODY = """
import os, sys, tempfile
from pipelines.harness import share_of_machine
tempfile.tempdir = "."
os.chdir(sys.argv[1])
if os.geteuid() == 0:
    os.seteuid(65534)
print(share_of_machine(1, {"CUDA_VISIBLE_DEVICES": "0,1"})["CUDA_VISIBLE_DEVICES"], flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def locks(tmp_path, monkeypatch):
    """The folder of GPU locks is this test's own."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@contextmanager
def worker(visible):
    """The GPU of a process that lives as long as the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", TAKES_ITS_SHARE],
        cwd=REPOSITORY,
        env=os.environ | {GPUS: visible},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process.stdout.readline().strip()
    finally:
        process.communicate(timeout=30)


@pytest.mark.parametrize("harnesses", [1, 2, 3, 1000])
def test_workers_share_the_cores(harnesses):
    expected = max(1, usable_cores() // harnesses)
    assert share_of_machine(harnesses, {GPUS: ""}) == {THREADS: str(expected)}


def test_a_number_of_threads_that_is_set_stays():
    assert share_of_machine(2, {THREADS: "7", GPUS: ""}) == {}


@pytest.mark.parametrize("visible", ["", "-1", "-1,0", " , "])
def test_without_a_gpu_nothing_is_said_of_one(visible):
    assert GPUS not in share_of_machine(1, {GPUS: visible})


@pytest.mark.parametrize(
    ("visible", "own"), [("3", "3"), ("0,-1,1", "0"), (" 1 , 0", "1"), ("GPU-8f/1,GPU-90/2", "GPU-8f/1")]
)
def test_the_first_gpu_that_is_visible_is_taken(visible, own):
    assert share_of_machine(1, {GPUS: visible})[GPUS] == own


def test_gpus_behind_a_minus_one_are_not_visible():
    """CUDA reads the list up to the first number that there is not."""
    assert share_of_machine(1, {GPUS: "0,-1,1"})[GPUS] == "0"
    assert share_of_machine(1, {GPUS: "0,-1,1"})[GPUS] == "0"  # taken: shared, and not 1


def test_each_worker_has_its_own_gpu_and_a_third_shares():
    with ExitStack() as stack:
        first, second, third = (stack.enter_context(worker("0,1")) for _ in range(3))
        assert (first, second) == ("0", "1")
        assert third in ("0", "1")


def test_a_worker_that_has_ended_leaves_its_gpu_to_others():
    with worker("0,1") as first, worker("0,1") as second:
        assert [first, second] == ["0", "1"]
    with worker("0,1") as third, worker("1") as fourth:
        assert [third, fourth] == ["0", "1"]


def test_the_lock_of_another_user_is_one_all_the_same(locks):
    (locks / "l3flow-gpu-0.lock").touch(mode=0o444)
    locks.chmod(0o1777)  # as /tmp
    process = subprocess.Popen(
        [sys.executable, "-c", TAKES_IT_AS_NOBODY, str(locks)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "0\n"
        assert share_of_machine(1, {GPUS: "0,1"})[GPUS] == "1"
    finally:
        process.communicate(timeout=30)


def test_a_lock_that_cannot_be_opened_is_taken_by_somebody(locks):
    (locks / "l3flow-gpu-0.lock").mkdir()
    assert share_of_machine(1, {GPUS: "0,1"})[GPUS] == "1"
    assert share_of_machine(1, {GPUS: "0"})[GPUS] == "0"  # there is no other


class Runner(
    provision_grpc.ProvisionServiceServicer,
    fn_api_grpc.BeamFnControlServicer,
    fn_api_grpc.BeamFnLoggingServicer,
):
    """What a TaskManager serves: tells what to run, has no work, and ends the worker when told to."""

    def __init__(self):
        self.options = {}
        self.status_url = None
        self.inside = True  # whether provision names the other services, too
        self.asked_by = []
        self.workers = []
        self.logged = []
        self.finish = threading.Event()
        self.server = grpc.server(ThreadPoolExecutor())
        self.url = f"localhost:{self.server.add_insecure_port('localhost:0')}"
        provision_grpc.add_ProvisionServiceServicer_to_server(self, self.server)
        fn_api_grpc.add_BeamFnControlServicer_to_server(self, self.server)
        fn_api_grpc.add_BeamFnLoggingServicer_to_server(self, self.server)

    def GetProvisionInfo(self, request, context):  # noqa: N802
        self.asked_by.append(dict(context.invocation_metadata())["worker_id"])
        info = provision.ProvisionInfo(runner_capabilities=["beam:one", "beam:two"])
        json_format.ParseDict(self.options, info.pipeline_options)
        if self.inside:
            info.control_endpoint.url = info.logging_endpoint.url = self.url
        if self.status_url:
            info.status_endpoint.url = self.status_url
        return provision.GetProvisionInfoResponse(info=info)

    def Control(self, requests, context):  # noqa: N802
        self.workers.append(dict(context.invocation_metadata())["worker_id"])
        self.finish.wait(60)
        yield from ()

    def Logging(self, entries, context):  # noqa: N802
        for each in entries:
            self.logged += [entry.message for entry in each.log_entries]
        yield fn_api.LogControl()


@pytest.fixture
def runner():
    found = Runner()
    found.server.start()
    yield found
    found.finish.set()
    found.server.stop(grace=None).wait()


def boot(runner, *, environment, more=()):
    """Environment of the worker that `l3flow-harness` becomes, its exit code and what it printed."""
    code = "from pipelines.harness import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "--id=1-7", f"--provision_endpoint={runner.url}", *more],
        cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if name != THREADS} | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: runner.workers or process.poll() is not None, within_s=60)
        found = Path(f"/proc/{process.pid}/environ").read_bytes().decode().split("\0")
        runner.finish.set()
        out, said = process.communicate(timeout=60)
    finally:
        process.kill()
    return dict(line.partition("=")[::2] for line in found if line), process.returncode, out, said


def service(text):
    return text_format.Parse(text, endpoints_pb2.ApiServiceDescriptor()).url


def test_it_becomes_the_worker_that_the_runner_wants(runner):
    runner.options = {
        "beam:option:job_name:v1": "of the test",
        "beam:option:sdk_worker_parallelism:v1": 2,
    }
    runner.status_url = runner.url
    found, code, _, said = boot(runner, environment={GPUS: "0,1"})
    assert code == 0, said
    assert runner.asked_by == runner.workers == ["1-7"]
    assert found["WORKER_ID"] == "1-7"
    assert json.loads(found["PIPELINE_OPTIONS"]) == runner.options
    assert service(found["CONTROL_API_SERVICE_DESCRIPTOR"]) == runner.url
    assert service(found["LOGGING_API_SERVICE_DESCRIPTOR"]) == runner.url
    assert service(found["STATUS_API_SERVICE_DESCRIPTOR"]) == runner.url
    assert found["RUNNER_CAPABILITIES"] == "beam:one beam:two"
    assert found[THREADS] == str(max(1, usable_cores() // 2))
    assert found[GPUS] == "0"
    assert any("of the test" in message for message in runner.logged)  # the worker has understood it


def test_what_a_worker_prints_goes_to_standard_error(runner, tmp_path):
    """A worker pool reads neither: standard output may be a pipe that fills."""
    (tmp_path / "talkative.py").write_text("print('hello')")
    runner.options = {"beam:option:beam_plugins:v1": ["talkative"]}
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    _, code, out, said = boot(runner, environment={GPUS: "", "PYTHONPATH": path})
    assert code == 0, said
    assert out == ""
    assert "hello\n" in said


def test_services_may_be_named_by_arguments(runner):
    runner.inside = False
    more = (f"--control_endpoint={runner.url}", f"--logging_endpoint={runner.url}")
    found, code, _, said = boot(runner, environment={GPUS: "", THREADS: "5"}, more=more)
    assert code == 0, said
    assert runner.workers == ["1-7"]
    assert service(found["CONTROL_API_SERVICE_DESCRIPTOR"]) == runner.url
    assert "STATUS_API_SERVICE_DESCRIPTOR" not in found
    assert (found[THREADS], found[GPUS]) == ("5", "")


@pytest.mark.parametrize(("asked", "workers"), [(None, 1), (1, 1), (2, 2), ("2", 2), (0, 7)])
def test_workers_of_a_task_manager(asked, workers, monkeypatch):
    monkeypatch.setattr(harness, "usable_cores", lambda: 8)
    info = struct_pb2.Struct()
    if asked is not None:
        info["beam:option:sdk_worker_parallelism:v1"] = asked
    assert harness._harnesses(json_format.MessageToDict(info)) == workers


@pytest.mark.parametrize("argv", [[], ["--help"], ["--id=1"], ["--provision_endpoint=localhost:1"]])
def test_started_by_hand_it_says_who_starts_it(argv):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == (
        "l3flow-harness: started by a runner, with --id=... and --provision_endpoint=..."
    )


def test_a_runner_that_is_gone_is_one_line():
    port = free_port()
    with pytest.raises(SystemExit) as stop:
        main(["--id=1", f"--provision_endpoint=localhost:{port}"])
    assert stop.value.code.startswith(f"l3flow-harness: no runner at localhost:{port}: ")
    assert "Connection refused" in stop.value.code
