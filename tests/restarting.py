"""A small runner that does what a service does when a worker is lost: the same bundle, to a new process.

Beam's local runner executes the pipeline, over the Fn API, with Python workers in processes of their
own; it has no retries, so its bundle is given again here.
"""

import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner import (
    FnApiRunner,
    execution,
    fn_runner,
    worker_handlers,
)

REPOSITORY = Path(__file__).parents[1]
TRIES = 4  # as Dataflow's
URN = "l3flow:tests:worker_process"
# the engine of a worker that is to be lost in the middle of a shard, when it has done the one before
STARTUP = """
import os, time
from pathlib import Path
from tests import fake_model

fake_model.register()
compute = fake_model.FakeEngine.__call__
MARK, DONE = Path(os.environ["LOST_WORKER"]), Path(os.environ["LOST_AFTER_ONE_IN"])

def call(engine, signal, starts):
    if any(DONE.glob("*.json")) and not MARK.exists():
        MARK.with_suffix(".new").write_text(str(os.getpid()))
        MARK.with_suffix(".new").rename(MARK)
        time.sleep(3600)
    return compute(engine, signal, starts)

fake_model.FakeEngine.__call__ = call
"""


@worker_handlers.WorkerHandler.register_environment(URN, bytes)
class WorkerProcess(worker_handlers.GrpcWorkerHandler):
    """A Python worker in a process of its own; when it ends, what it was asked for has failed."""

    started: list["WorkerProcess"] = []  # noqa: RUF012  (of all runs)

    def __init__(self, folder, state, provision_info, grpc_server):
        super().__init__(state, provision_info, grpc_server)
        self._folder = folder.decode()
        self.control_conn._read_thread = threading.Thread(target=self._read)

    def _read(self):
        with suppress(Exception):  # gRPC's way to say that the other end is gone
            type(self.control_conn)._read(self.control_conn)
        for number, future in list(self.control_conn._futures_by_id.items()):
            future.set(
                beam_fn_api_pb2.InstructionResponse(instruction_id=number, error="the worker was lost")
            )

    def start_worker(self):
        services = {
            "CONTROL": self.control_api_service_descriptor(),
            "LOGGING": self.logging_api_service_descriptor(),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "apache_beam.runners.worker.sdk_worker_main"],
            env=os.environ
            | {f"{name}_API_SERVICE_DESCRIPTOR": str(url) for name, url in services.items()}
            | {"WORKER_ID": self.worker_id, "PIPELINE_OPTIONS": "{}"}
            | {"PYTHONPATH": f"{REPOSITORY}:{self._folder}"},
        )
        self.started.append(self)

    def abandon(self):
        """Close what is left of the connections to a worker that is lost."""
        with suppress(Exception):  # says again what it was lost by
            self.data_conn.close()
        self.control_conn.close()
        self.stop_worker()

    def stop_worker(self):
        self.process.wait(60)


def run_restarting(proto, folder, monkeypatch):
    """Run a pipeline; workers that are lost are started again. Returns the result.

    Args:
        proto: of the pipeline.
        folder: with the `sitecustomize.py` of workers.
        monkeypatch: of the test.
    """
    [here] = proto.components.environments.values()
    here.urn, here.payload = URN, str(folder).encode()
    once = fn_runner.BundleManager.process_bundle

    def handlers_now(context):  # Beam's own keeps the first ones for good
        workers = context.execution_context.worker_handler_manager
        return workers.get_worker_handlers(context.stage.environment, context.num_workers)

    def again(manager, *args, **kwargs):
        for _ in range(TRIES):
            try:
                return once(manager, *args, **kwargs)
            except RuntimeError:
                if manager._worker_handler.process.poll() is None:
                    raise  # an error of the work itself
            manager._worker_handler.abandon()
            workers = manager.bundle_context_manager.execution_context.worker_handler_manager
            for handlers in workers._cached_handlers.values():
                handlers.remove(manager._worker_handler)
        raise RuntimeError(f"a bundle has failed {TRIES} times")

    monkeypatch.setattr(fn_runner.BundleManager, "process_bundle", again)
    monkeypatch.setattr(execution.BundleContextManager, "worker_handlers", property(handlers_now))
    return FnApiRunner().run_via_runner_api(proto, PipelineOptions(runner="FnApiRunner"))
