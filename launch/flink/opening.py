"""Where `--runner flink` will run, from a command's options: all that can be checked before is."""

import argparse
import socket
import sys
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from l3core.errors import UsageError
from l3core.stores import is_remote
from launch.flink.jars import find_job_server
from launch.flink.java import find_java
from launch.flink.rest import FlinkCluster
from launch.flink.run import HARNESS, FlinkRunner, script_here

ENVIRONMENTS = ("loopback", "process", "external")
MOST_PORT = 65535
POOL = "localhost:50000"  # where Beam's worker pools listen by custom


def runner_of(
    args: argparse.Namespace, beam_options: Sequence[str], places: Mapping[str, str]
) -> FlinkRunner | None:
    """What the options of a command mean; None if they mean another runner.

    Args:
        args: of the command.
        beam_options: further options of Beam.
        places: flag -> path or URI that workers read and write.

    Raises:
        UsageError: from `open_runner`.
    """
    if args.runner != "flink":
        return None
    runner = open_runner(
        master=args.flink_master or "local",
        environment=args.flink_environment,
        jar=args.flink_job_server_jar,
        workers=args.workers,
        detach=args.detach,
        pool=_pool(beam_options),
    )
    if runner.cluster and not runner.cluster.is_here():
        for flag, place in places.items():
            if not is_remote(place):
                _warn(f"{flag} {place} is a path, and must be the same folder on the cluster's machines")
    return runner


def open_runner(
    *,
    master: str,
    environment: str | None,
    jar: str | None,
    workers: int | None,
    detach: bool = False,
    pool: str = POOL,
) -> FlinkRunner:
    """Check all that can be known before anything runs.

    Args:
        master: `local`, or host:port of a cluster's REST interface.
        environment: where Python runs; None: in this process with `local`, else by each TaskManager.
        jar: path of a job server.
        workers: pieces of work side by side; None: all free slots of a cluster, one with `local`.
        detach: come back when the job is submitted.
        pool: address of the worker pool.

    Raises:
        UsageError: what is missing, or does not fit, and what to do.
    """
    environment = environment or ("loopback" if master == "local" else "process")
    if environment not in ENVIRONMENTS:
        raise UsageError(
            f"--flink-environment must be one of {', '.join(ENVIRONMENTS)}, got {environment!r}"
        )
    if detach and master == "local":
        raise UsageError("--detach needs a cluster that goes on without us: --flink-master HOST:PORT")
    if detach and environment == "loopback":
        raise UsageError("--detach needs Python on the cluster: --flink-environment process or external")
    find_java()
    if master == "local":
        _check_environment(environment, pool, here=True)
        found = find_job_server(jar, None)
        return FlinkRunner(cluster=None, environment=environment, pool=pool, jar=found, slots=workers)
    cluster = FlinkCluster(url_of(master))
    version = cluster.version()
    found = find_job_server(jar, ".".join(version.split(".")[:2]))
    _check_environment(environment, pool, here=cluster.is_here())
    _warn_without_restarts(cluster)
    return FlinkRunner(
        cluster=cluster,
        environment=environment,
        pool=pool,
        jar=found,
        slots=workers,
        detach=detach,
    )


def url_of(master: str) -> str:
    """URL of a cluster's REST interface, from host:port or a URL.

    Raises:
        UsageError: it is neither.
    """
    url = master if "://" in master else f"http://{master}"
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port
    except ValueError:
        known = None
    if known and (parts.username or parts.password or parts.query):
        raise UsageError("--flink-master takes HOST:PORT without user, password or query")
    if not known:
        raise UsageError(f"--flink-master needs local or HOST:PORT, as localhost:8081, got {master!r}")
    return url.rstrip("/")


def _pool(beam_options: Sequence[str]) -> str:
    """Address of the worker pool that Beam's own option names."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--environment_config", default=POOL)
    found: str = parser.parse_known_args(beam_options)[0].environment_config
    return found


def _check_environment(environment: str, pool: str, *, here: bool) -> None:
    if environment == "process" and here:
        script_here(HARNESS)
    if environment == "external":
        host, _, port = pool.rpartition(":")
        if not (host and port.isdecimal() and 0 < int(port) <= MOST_PORT):
            raise UsageError(f"--environment_config needs HOST:PORT of a worker pool, got {pool!r}")
        # `localhost` is each TaskManager's own machine
        if here or host != "localhost":
            _hold_listens(host, int(port))


def _hold_listens(host: str, port: int) -> None:
    try:
        with socket.create_connection((host, port), timeout=5):
            pass
    except OSError as error:
        raise UsageError(
            f"no worker pool answers at {host}:{port} ({error.strerror or error}): "
            "l3flow flink up --pool starts one, --environment_config=HOST:PORT names another"
        ) from None


def _warn_without_restarts(cluster: FlinkCluster) -> None:
    if not cluster.restarts():
        _warn(
            f"the cluster at {cluster.url} has no restart strategy: one lost worker ends the job "
            "(its configuration needs restart-strategy.type: fixed-delay)"
        )


def _warn(text: str) -> None:
    print(f"l3flow: {text}", file=sys.stderr)
