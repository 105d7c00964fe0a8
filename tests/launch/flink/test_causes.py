"""One line out of what Java and Python say of a job that failed."""

import pytest

from launch.flink.causes import cause_of

TRACEBACK = """\
Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 1501, in apache_beam.runners.common.DoFnRunner.process
  File "apache_beam/runners/common.py", line 917, in apache_beam.runners.common.PerWindowInvoker
  File "/venv/lib/python3.11/site-packages/pipelines/embed.py", line 61, in process
    at = self.embed(shard)
         ^^^^^^^^^^^^^^^^^
{last}
"""
HARNESS = "java.lang.RuntimeException: Error received from SDK harness for instruction 4: "
JAVA = """\
\tat java.base/java.util.concurrent.CompletableFuture.reportGet(CompletableFuture.java:396)
\tat org.apache.beam.sdk.util.MoreFutures.get(MoreFutures.java:59)
\tat org.apache.beam.runners.flink.translation.functions.FlinkExecutableStageFunction.mapPartition
\t... 6 more
"""
PROBE = "ValueError: probe failure on element 7 [while running 'Work']"


def exception(*, name="java.util.concurrent.ExecutionException: ", said=""):
    return f"{name}{said}\n{JAVA}"


def test_the_python_error_of_a_cluster():
    """As `root-exception` has it: the same error at each level, and Java's stack below it."""
    said = HARNESS + TRACEBACK.format(last=PROBE)
    text = exception(said=said) + exception(name="Caused by: ", said=said)
    assert cause_of(text) == "ValueError: probe failure on element 7"


def test_the_python_error_of_a_pipeline_of_this_process():
    """As `wait_until_finish` raises it: without Java's stack."""
    name = "BeamApp-root-1126_3f5bb0f1-f6a1-b0f4-c8a9-f0e1d2c3b4a5"
    text = f"Pipeline {name} failed in state FAILED: {HARNESS}{TRACEBACK.format(last=PROBE)}"
    assert cause_of(text) == "ValueError: probe failure on element 7"


def test_of_errors_that_led_to_each_other_the_last():
    first = TRACEBACK.format(last="KeyError: 'x'")
    last = TRACEBACK.format(last=PROBE)
    between = "\nDuring handling of the above exception, another exception occurred:\n\n"
    assert cause_of(exception(said=first + between + last)) == "ValueError: probe failure on element 7"


def test_of_several_workers_the_last():
    text = exception(said=TRACEBACK.format(last="ValueError: first")) + exception(
        name="Caused by: ", said=TRACEBACK.format(last="ValueError: second [while running 'Embed/Do']")
    )
    assert cause_of(text) == "ValueError: second"


def test_a_line_of_code_that_begins_as_javas_do_ends_nothing():
    text = TRACEBACK.format(last="OSError: [Errno 28] No space left on device")
    assert "    at = " in text
    assert cause_of(exception(said=text)) == "OSError: [Errno 28] No space left on device"


@pytest.mark.parametrize(
    "name",
    ["RunError", "l3core.errors.RunError", "l3core.errors.StorageError", "l3core.errors.TableError"],
)
def test_our_own_errors_are_for_people(name):
    text = TRACEBACK.format(last=f"{name}: gs://b/x: it is gone [while running 'EmbedShards/Embed']")
    assert cause_of(exception(said=HARNESS + text)) == "gs://b/x: it is gone"


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (
            "org.apache.flink.runtime.rest.util.RestClientException: [Internal server error., "
            "<Exception on server side:\norg.apache.flink.runtime.rest.handler.RestHandlerException: "
            "Failed to deserialize JobGraph.\n" + JAVA,
            "the cluster's Flink is of another version than the job server's",
        ),
        (
            "org.apache.flink.runtime.JobException: Recovery is suppressed by "
            f"NoRestartBackoffTimeStrategy\n{JAVA}Caused by: "
            "java.util.concurrent.CompletionException: org.apache.flink.runtime.jobmanager.scheduler."
            "NoResourceAvailableException: Could not acquire the minimum required resources.\n",
            "the cluster has no free slot: wait, or add TaskManagers",
        ),
        (
            'Caused by: java.io.IOException: Cannot run program "l3flow-harness": error=2, No such file '
            "or directory\n" + JAVA,
            "the TaskManagers have no l3flow-harness in their PATH: l3flow must be installed there",
        ),
        (
            "java.lang.OutOfMemoryError: Metaspace. The metaspace out-of-memory error has occurred.\n",
            "a Java process ran out of memory: give TaskManagers more",
        ),
        (
            "org.apache.flink.shaded.guava31.com.google.common.util.concurrent.UncheckedExecutionException"
            ": org.apache.beam.vendor.grpc.v1p60p1.io.grpc.StatusRuntimeException: UNAVAILABLE: io "
            f"exception\n{JAVA}Caused by: io.netty.channel.AbstractChannel$AnnotatedConnectException: "
            f"Connection refused: localhost/127.0.0.1:50000\n{JAVA}"
            "Caused by: java.net.ConnectException: Connection refused\n",
            "nothing answers at localhost/127.0.0.1:50000: is the worker pool there running?",
        ),
        (
            f"java.lang.Exception: first\n{JAVA}Caused by: java.lang.Exception: second\n{JAVA}"
            "Caused by: java.util.concurrent.TimeoutException: Heartbeat of TaskManager with id tm "
            "timed out.\n",
            "java.util.concurrent.TimeoutException: Heartbeat of TaskManager with id tm timed out.",
        ),
        (
            f"org.apache.flink.util.FlinkException: alone\n{JAVA}",
            "org.apache.flink.util.FlinkException: alone",
        ),
        ("Job was cancelled.", "Job was cancelled."),
        ("", "the job failed without a word"),
        (" \n\n", "the job failed without a word"),
    ],
)
def test_what_java_says(said, cause):
    assert cause_of(said) == cause


def test_what_python_says_goes_first():
    """A worker that ran out of memory there may be named in a Python error here."""
    text = exception(said=TRACEBACK.format(last="ValueError: OutOfMemoryError of some kind"))
    assert cause_of(text) == "ValueError: OutOfMemoryError of some kind"
