"""Where a run on Flink will be, held before anything runs."""

import argparse
import socket

import pytest

from l3core.errors import UsageError
from launch.flink.job_server import free_port
from launch.flink.opening import open_runner, runner_of, url_of
from tests.flink_rest import flink_rest

RESTARTS = [{"key": "restart-strategy.type", "value": "fixed-delay"}]


@pytest.fixture
def flink():
    with flink_rest() as server:
        server.say("/jobmanager/config", RESTARTS)
        yield server


@pytest.fixture
def jar(tmp_path):
    path = tmp_path / "beam-runners-flink-1.19-job-server-2.70.0.jar"
    path.touch()
    return str(path)


@pytest.fixture
def pool():
    """Address at which something listens."""
    with socket.create_server(("localhost", 0)) as server:
        yield f"localhost:{server.getsockname()[1]}"


def opened(jar, *, master="local", environment=None, workers=None, **more):
    return open_runner(master=master, environment=environment, jar=jar, workers=workers, **more)


@pytest.mark.parametrize(
    ("master", "url"),
    [
        ("localhost:8081", "http://localhost:8081"),
        ("10.0.0.7:80", "http://10.0.0.7:80"),
        ("[::1]:8081", "http://[::1]:8081"),
        ("https://flink.example:443/", "https://flink.example:443"),
        ("http://gate.example:80/flink/", "http://gate.example:80/flink"),
    ],
)
def test_the_url_of_a_cluster(master, url):
    assert url_of(master) == url


@pytest.mark.parametrize(
    "master",
    [
        "",
        "8081",
        ":8081",
        "localhost",
        "Local",
        "[local]",
        "[::1",
        "host:",
        "host:0",
        "host:65536",
        "host:port",
        "http://host",
        "ftp://a:1",
    ],
)
def test_what_is_no_address_of_a_cluster(master):
    with pytest.raises(UsageError) as caught:
        url_of(master)
    assert str(caught.value) == (
        f"--flink-master needs local or HOST:PORT, as localhost:8081, got {master!r}"
    )


def test_local_runs_python_in_this_process(jar):
    runner = opened(jar)
    assert (runner.cluster, runner.environment, runner.slots) == (None, "loopback", None)
    assert str(runner.jar.path) == jar
    assert runner.with_slots().slots == 1
    assert opened(jar, workers=3).with_slots().slots == 3


def test_a_cluster_starts_python_itself(flink, jar):
    runner = opened(jar, master=f"localhost:{flink.port}")
    assert (runner.cluster.url, runner.environment, runner.detach) == (flink.url, "process", False)
    assert runner.with_slots().slots == 3  # those that are free


@pytest.mark.parametrize("environment", ["process", "loopback", "external"])
@pytest.mark.parametrize("local", [True, False])
def test_environments(flink, jar, pool, environment, local):
    master = "local" if local else flink.url
    assert opened(jar, master=master, environment=environment, pool=pool).environment == environment


@pytest.mark.parametrize("master", ["local", "nowhere.invalid:8081"])
def test_an_environment_that_there_is_not(jar, master):
    with pytest.raises(UsageError) as caught:
        opened(jar, master=master, environment="docker")
    assert str(caught.value) == (
        "--flink-environment must be one of loopback, process, external, got 'docker'"
    )


@pytest.mark.parametrize("environment", [None, "loopback", "process", "external"])
def test_nothing_is_left_alone_on_this_machine(jar, environment):
    with pytest.raises(UsageError, match="--detach needs a cluster that goes on without us"):
        opened(jar, environment=environment, detach=True)


def test_python_in_this_process_cannot_be_left_alone(flink, jar):
    with pytest.raises(UsageError, match="--detach needs Python on the cluster"):
        opened(jar, master=flink.url, environment="loopback", detach=True)
    assert flink.log == []


@pytest.mark.parametrize("environment", [None, "process", "external"])
def test_a_cluster_goes_on_without_us(flink, jar, pool, environment):
    assert opened(jar, master=flink.url, environment=environment, pool=pool, detach=True).detach


def test_a_job_server_of_another_flink_than_the_clusters(flink, jar):
    flink.say("/config", {"flink-version": "1.20.5"})
    with pytest.raises(UsageError, match=r"is for Flink 1\.19, the cluster is 1\.20: both must be"):
        opened(jar, master=flink.url)


def test_another_patch_of_the_same_flink_will_do(flink, jar):
    flink.say("/config", {"flink-version": "1.19.3-SNAPSHOT"})
    assert opened(jar, master=flink.url).jar.minor == "1.19"


@pytest.mark.parametrize("pool", ["", "localhost", "50000", ":50000", "host:", "host:x", "host:99999"])
def test_what_is_no_address_of_a_pool(jar, pool):
    with pytest.raises(UsageError) as caught:
        opened(jar, environment="external", pool=pool)
    assert str(caught.value) == f"--environment_config needs HOST:PORT of a worker pool, got {pool!r}"


@pytest.mark.parametrize("local", [True, False])
def test_a_pool_that_does_not_answer(flink, jar, local):
    pool = f"localhost:{free_port()}"
    with pytest.raises(UsageError) as caught:
        opened(jar, master="local" if local else flink.url, environment="external", pool=pool)
    assert str(caught.value).startswith(
        f"no worker pool answers at {pool} (Connection refused): l3flow flink up --pool starts one"
    )


def test_a_pool_on_each_of_other_machines_is_theirs(flink, jar):
    flink.on("10.0.0.7", "10.0.0.8")
    pool = f"localhost:{free_port()}"
    assert opened(jar, master=flink.url, environment="external", pool=pool).pool == pool
    with pytest.raises(UsageError, match=r"no worker pool answers at 127\.0\.0\.1:"):
        opened(jar, master=flink.url, environment="external", pool=f"127.0.0.1:{free_port()}")


def test_a_pool_whose_name_there_is_not(jar):
    with pytest.raises(UsageError, match=r"no worker pool answers at nowhere\.invalid:50000 \("):
        opened(jar, environment="external", pool="nowhere.invalid:50000")


def test_a_cluster_without_restarts_is_warned_of(flink, jar, capsys):
    opened(jar, master=flink.url)
    assert capsys.readouterr().err == ""
    flink.say("/jobmanager/config", [])
    opened(jar, master=flink.url)
    assert capsys.readouterr().err == (
        f"l3flow: the cluster at {flink.url} has no restart strategy: one lost worker ends the job "
        "(its configuration needs restart-strategy.type: fixed-delay)\n"
    )


def args(jar, master=None, runner="flink", environment=None):
    return argparse.Namespace(
        runner=runner,
        flink_master=master,
        flink_environment=environment,
        flink_job_server_jar=jar,
        workers=2,
        detach=False,
    )


def test_another_runner_needs_none_of_it():
    assert runner_of(args("/no/such.jar", runner="local"), [], {}) is None


@pytest.mark.parametrize("hosts", [("localhost",), ("10.0.0.7",)])
def test_paths_are_warned_of_where_workers_have_other_disks(flink, jar, capsys, hosts):
    flink.on(*hosts)
    runner = runner_of(args(jar, flink.url), [], {"--output": "/data/table", "--table": "gs://b/table"})
    assert runner.slots == 2
    warning = (
        "l3flow: --output /data/table is a path, and must be the same folder on the cluster's machines\n"
    )
    assert capsys.readouterr().err == ("" if hosts == ("localhost",) else warning)


@pytest.mark.parametrize("apart", [True, False])
def test_beams_own_option_names_the_pool(jar, pool, apart):
    named = ["--environment_config", pool] if apart else [f"--environment_config={pool}"]
    given = ["--environment_config=nowhere:1", *named, "--sdk_worker_parallelism=2"]
    assert runner_of(args(jar, environment="external"), given, {}).pool == pool


def test_by_custom_a_pool_is_here(jar):
    assert runner_of(args(jar), [], {}).pool == "localhost:50000"


def test_no_password_in_a_master():
    """It would be in locks, in records and in Java's command line."""
    for master in ("http://user:secret@host:8081", "secret@host:8081", "http://host:8081?token=secret"):
        with pytest.raises(UsageError, match="without user, password or query") as caught:
            url_of(master)
        assert "secret" not in str(caught.value)
