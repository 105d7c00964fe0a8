"""`l3flow flink`: the jars, and a session cluster on this machine."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launch.options import Parser, key_value, port, positive

DESCRIPTION = """\
Flink on this machine, without docker.

actions:
  install  fetch Flink and Beam's runner by Maven into the cache (125 MB, once)
  up       start a cluster: a JobManager and TaskManagers, which start Python workers; where one
           runs already, start again what has ended of it
  status   what runs, its slots and jobs
  down     stop the cluster, and all that it started

examples:
  l3flow flink install
  l3flow flink up --task-managers 2
  l3flow embed --input corpus --output table --runner flink --flink-master localhost:8081
  l3flow flink status
  l3flow flink down
"""


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add = parser.add_argument
    add("action", choices=["install", "up", "status", "down"], metavar="ACTION")
    add("--task-managers", type=positive, default=1, metavar="N", help="with up: how many (default 1)")
    add("--slots", type=positive, default=1, metavar="N", help="with up: of each (default 1)")
    add("--port", type=port, default=8081, metavar="PORT", help="with up: of its REST interface")
    add(
        "--pool",
        type=port,
        nargs="?",
        const=50000,
        metavar="PORT",
        help="with up: a worker pool, too, for --flink-environment external (port 50000)",
    )
    add(
        "--flink-option",
        type=key_value,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="with up: of Flink's configuration",
    )
    add(
        "--folder",
        type=Path,
        metavar="DIR",
        help="the cluster's configuration and logs (default: below the user's XDG state folder)",
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing but errors")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """Do the action; returns the exit code."""
    args = parser.parse(argv)
    actions = {"install": _install, "up": _up, "status": _status, "down": _down}
    return actions[args.action](args)


def _say(args: argparse.Namespace, text: str) -> None:
    if not (args.quiet or args.json):
        print(text, flush=True)


def _install(args: argparse.Namespace) -> int:
    from launch.flink.jars import INSTALLED_MINOR, install

    jar = install(lambda text: _say(args, text))
    _say(args, f"job server for Flink {INSTALLED_MINOR}: {jar.path}")
    if args.json:
        print(json.dumps({"jar": str(jar.path), "flink": INSTALLED_MINOR}))
    return 0


def _up(args: argparse.Namespace) -> int:
    from launch.flink.jars import install
    from launch.flink.session import Session, known_session

    def say(text: str) -> None:
        _say(args, text)

    install(say)
    known = known_session(_folder(args))
    if known and known.start_again(say):
        if args.json:
            print(json.dumps(_facts(args), indent=1))
        return 0
    session = Session(
        folder=_folder(args),
        port=args.port,
        slots=args.slots,
        pool=args.pool,
        options=dict(args.flink_option),
    )
    session.start(args.task_managers, say)
    _say(args, f"Flink runs at localhost:{session.port}; l3flow flink down stops it")
    if args.json:
        print(json.dumps(_facts(args), indent=1))
    return 0


def _down(args: argparse.Namespace) -> int:
    from launch.flink.session import known_session

    session = known_session(_folder(args))
    stopped = session.stop() if session else []
    _say(args, f"stopped: {', '.join(stopped)}" if stopped else "no cluster runs here")
    if args.json:
        print(json.dumps({"stopped": stopped}))
    return 0


def _status(args: argparse.Namespace) -> int:
    facts = _facts(args)
    if args.json:
        print(json.dumps(facts, indent=1))
        return 0
    if not facts["processes"]:
        _say(args, "no cluster runs here: l3flow flink up starts one")
        return 0
    for process in facts["processes"]:
        _say(
            args, f"{process['name']:14} {'running' if process['alive'] else 'ended':8} {process['pid']}"
        )
    if "slots" in facts:
        _say(args, f"{facts['url']}: {facts['free_slots']} of {facts['slots']} slots free")
        for job in facts["jobs"]:
            _say(args, f"{job['id']}  {job['state']:10} {job['name']}")
    return 0


def _facts(args: argparse.Namespace) -> dict[str, Any]:
    from launch.flink.rest import FlinkCluster
    from launch.flink.session import known_session
    from launch.runners import NoAnswerError

    session = known_session(_folder(args))
    if session is None:
        return {"processes": []}
    facts: dict[str, Any] = {
        "url": session.url,
        "folder": str(session.folder),
        "processes": [process._asdict() for process in session.processes()],
    }
    cluster = FlinkCluster(session.url)
    try:
        slots = cluster.slots()
        jobs = cluster.jobs()
    except NoAnswerError:  # it does not run: the processes say so
        return facts
    return facts | {
        "task_managers": slots.task_managers,
        "slots": slots.total,
        "free_slots": slots.free,
        "jobs": [job._asdict() for job in jobs],
    }


def _folder(args: argparse.Namespace) -> Path:
    from launch.flink.session import default_folder

    folder: Path = args.folder or default_folder()
    return folder.absolute()
