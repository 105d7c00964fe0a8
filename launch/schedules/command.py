"""`l3flow schedule`: the text that makes a scheduler run a command."""

import argparse
import getpass
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

from l3core.errors import UsageError
from launch.options import Parser, naming, writing_to
from launch.places import Place
from launch.schedules.given import Given, check_command, elsewhere, here
from launch.schedules.job import Job, Options
from launch.schedules.targets import TARGETS, Target
from launch.schedules.when import WORDS, clock_changes, parse_every
from launch.schedules.zones import UTC, checked_zone, is_of_machine, zone_of_machine

DESCRIPTION = f"""\
Print what makes a scheduler run a command: a crontab's line, units of systemd, a CronJob of Kubernetes,
a job of Cloud Scheduler that starts a Cloud Run job or launches a template on Dataflow, or a DAG of
Airflow. Nothing is installed.

The command behind -- is checked as it would be if it ran now; embed gets --if-running skip, so that it
is safe to fire twice, late, or during a long run. launch/schedules/README.md tells how to install each.

--every: {WORDS}

examples:
  l3flow schedule --to cron --every night -- embed --input corpus --output table --prune
  l3flow schedule --to systemd --every 'day at 02:30' --time-zone Europe/Berlin --output units \\
      -- embed --input /data/corpus --output /data/table
  l3flow schedule --to k8s --every '6 hours' --image registry.example/l3flow:1 \\
      -- embed --input gs://bucket/audio --output gs://bucket/table
  l3flow schedule --to cloud-scheduler --every 'monday at 04:30' --project my-project \\
      --region europe-west1 --job l3flow --service-account nightly@my-project.iam.gserviceaccount.com \\
      -- embed --input gs://bucket/audio --output gs://bucket/table
  l3flow schedule --to flex-template --every night --template gs://bucket/template.json \\
      --service-account nightly@my-project.iam.gserviceaccount.com \\
      -- embed --input gs://bucket/audio --output gs://bucket/table --runner dataflow \\
      --project my-project --region us-central1 --temp-location gs://bucket/temp \\
      --sdk-container-image us-docker.pkg.dev/my-project/l3flow/l3flow:1
  l3flow schedule --to airflow --every '30 4 1 * *' -- verify --table gs://bucket/table
"""
LONGEST_NAME = 52  # of a CronJob


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(
        prog=prog, description=DESCRIPTION, usage=f"{prog} --to WHERE --every WHEN -- COMMAND"
    )
    add = parser.add_argument
    add("--to", required=True, metavar="WHERE", help=", ".join(TARGETS))
    add("--every", required=True, metavar="WHEN", help="see above")
    add(
        "--time-zone",
        metavar="ZONE",
        help="as Europe/Berlin (default: the machine's for cron and systemd, else UTC)",
    )
    add("--name", metavar="NAME", help="of what is scheduled (default: l3flow-embed and the like)")
    add("--executable", metavar="FILE", help="l3flow where it runs (default: this one, or l3flow)")
    add("--output", metavar="FOLDER", help="write files there, and do not print them")
    add("--env-file", metavar="FILE", help="cron, systemd: NAME=VALUE lines, for env:NAME")
    add("--log", metavar="FILE", help="cron: all that it says (default ~/NAME.log)")
    add("--user", metavar="NAME", help="systemd: who runs it (default: you)")
    add("--image", metavar="IMAGE", help="k8s: with l3flow in it (default l3flow:VERSION)")
    add("--secret", metavar="NAME", help="k8s: a Secret with the keys that env:NAME and file:PATH need")
    add(
        "--service-account",
        metavar="NAME",
        help="k8s, cloud-scheduler: who runs it (Google: l3flow@...); flex-template: who launches it",
    )
    add(
        "--volume",
        action="append",
        default=[],
        metavar="[CLAIM=]PATH",
        help="k8s, cloud-scheduler, airflow: a folder that is there where the command runs; for k8s a "
        "PersistentVolumeClaim to be mounted",
    )
    add("--project", metavar="ID", help="cloud-scheduler: of Google Cloud (default: gcloud's variables)")
    add("--region", metavar="REGION", help="cloud-scheduler: of the Cloud Run job (default: the same)")
    add(
        "--job",
        metavar="NAME",
        help="cloud-scheduler: the Cloud Run job, whose command is l3flow (default l3flow)",
    )
    add("--template", metavar="URI", help="flex-template: what l3flow template build has written")
    parser.add_argument("--quiet", action="store_true", help="no notes, only the text and errors")
    parser.add_argument("--json", action="store_true", help="print files and command as JSON")
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """Print or write the files; returns the exit code."""
    own, command = _split(argv)
    args = parser.parse(own)
    if command is None:
        parser.error("needs -- and a command, as -- embed --input corpus --output table")
    job = make_job(args, command)
    files = TARGETS[args.to].write(job)
    if args.output:
        _write(args.output, files)
    _print(args, job, files)
    return 0


def _split(argv: Sequence[str]) -> tuple[list[str], list[str] | None]:
    if "--" not in argv:
        return list(argv), None
    place = list(argv).index("--")
    return list(argv[:place]), list(argv[place + 1 :])


def make_job(args: argparse.Namespace, command: Sequence[str]) -> Job:
    """The job that the options mean.

    Raises:
        UsageError: an option, or the command, is wrong.
    """
    if args.to not in TARGETS:
        raise UsageError(f"--to must be one of {', '.join(TARGETS)}, got {args.to!r}")
    target = TARGETS[args.to]
    _fill_in(args)
    _check_flags(args, target)
    with naming("--every"):
        when = parse_every(args.every)
    zone = _zone(args, target)
    volumes = tuple(map(_volume, args.volume))
    if args.to == "k8s" and not all(claim for claim, _ in volumes):
        raise UsageError("--volume needs CLAIM=PATH for k8s")

    def place(found: Place) -> str:
        return here(found) if target.here else elsewhere(found, [path for _, path in volumes], args.to)

    given = check_command(command, place)
    _check_secrets(args, target, given)
    name = _name(args.name or f"l3flow-{given.argv[0]}")
    return Job(
        name=name,
        when=when,
        zone=zone,
        every=" ".join(args.every.split()),
        executable=_executable(args.executable, target),
        argv=given.argv,
        secrets=given.secrets,
        written=given.written,
        read=given.read,
        options=Options(
            env_file=os.path.abspath(args.env_file) if args.env_file else "",
            log=os.path.abspath(args.log or Path.home() / f"{name}.log"),
            user=args.user or getpass.getuser(),
            volumes=volumes,
            image=args.image or "",
            secret=args.secret or "",
            service_account=args.service_account or "",
            project=args.project or "",
            region=args.region or "",
            job=args.job or "",
            template=args.template or "",
        ),
    )


def _fill_in(args: argparse.Namespace) -> None:
    """What needs no asking: an image of this version, and what gcloud's variables say."""
    if args.to == "k8s":
        args.image = args.image or f"l3flow:{version('l3flow')}"
    if args.to == "cloud-scheduler":
        args.job = args.job or "l3flow"
        args.project = args.project or _variable("CLOUDSDK_CORE_PROJECT", "GOOGLE_CLOUD_PROJECT")
        args.region = args.region or _variable("CLOUDSDK_RUN_REGION", "CLOUDSDK_COMPUTE_REGION")
        if args.project and not args.service_account:
            args.service_account = f"l3flow@{args.project}.iam.gserviceaccount.com"


def _variable(*names: str) -> str | None:
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def _check_flags(args: argparse.Namespace, target: Target) -> None:
    known = {flag for each in TARGETS.values() for flag in each.takes}
    for flag in sorted(known):
        value = getattr(args, flag.removeprefix("--").replace("-", "_"))
        if value and flag not in target.takes:
            having = [name for name, each in TARGETS.items() if flag in each.takes]
            raise UsageError(f"{flag} is for --to {' or '.join(having)}, not {args.to}")
        if not value and flag in target.needs:
            raise UsageError(f"--to {args.to} needs {flag}")
        for text in [value] if isinstance(value, str) else value or ():
            if flag in ("--env-file", "--log", "--volume"):
                _check_path(flag, text)
            elif not re.fullmatch(r"[\w.:/@-]+", text, re.ASCII):
                raise UsageError(f"{flag} has letters, digits and . : / @ - _ only, got {text!r}")


def _check_path(flag: str, text: str) -> None:
    if not text.isprintable() or text.endswith("\\") or text != text.strip():
        raise UsageError(f"{flag} needs a path without control characters, got {text!r}")


def _zone(args: argparse.Namespace, target: Target) -> str | None:
    if args.time_zone is None:
        return None if target.here else UTC
    with naming("--time-zone"):
        zone = checked_zone(args.time_zone)
        if args.to == "cron" and not is_of_machine(zone):
            raise UsageError(
                f"{zone}: Debian's cron knows the machine's time zone only, "
                f"{zone_of_machine() or 'another'}; use --to systemd, or tell --every in that zone"
            )
    return zone


def _volume(text: str) -> tuple[str, str]:
    claim, equals, path = text.rpartition("=")
    named = re.fullmatch(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?", claim)
    if not path.startswith("/") or (equals and not named):
        raise UsageError(f"--volume needs an absolute path, or CLAIM=PATH, got {text!r}")
    return claim, os.path.normpath(path)


def _check_secrets(args: argparse.Namespace, target: Target, given: Given) -> None:
    wanted = (
        (target.needs_for_variables, given.secrets.variables, "env:"),
        (target.needs_for_files, given.secrets.files, "file:"),
    )
    for flag, names, kind in wanted:
        if flag and names and not getattr(args, flag.removeprefix("--").replace("-", "_")):
            raise UsageError(f"{kind}{names[0]}: {args.to} has to be told where it is: give {flag}")


def _name(text: str) -> str:
    if len(text) > LONGEST_NAME or not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", text):
        raise UsageError(
            f"--name has lower case letters, digits and - only, at most {LONGEST_NAME}, got {text!r}"
        )
    return text


def _executable(given: str | None, target: Target) -> str:
    if given is not None:
        _check_path("--executable", given)
        if target.here and not os.path.isabs(given):
            raise UsageError(f"--executable needs an absolute path, got {given!r}")
        return given
    if not target.here:
        return "l3flow"
    from launch.flink.run import script_here

    return script_here("l3flow")


def _write(folder: str, files: Mapping[str, str]) -> None:
    with writing_to("--output", folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")


def _print(args: argparse.Namespace, job: Job, files: Mapping[str, str]) -> None:
    notes = clock_changes(job.when, job.zone or zone_of_machine() or UTC, date.today())
    if args.json:
        facts = {
            "to": args.to,
            "name": job.name,
            "cron": job.when.cron,
            "time_zone": job.zone,
            "command": [job.executable, *job.argv],
            "files": dict(files),
            "notes": notes,
        }
        print(json.dumps(facts, indent=1))
        return
    if args.output:
        if not args.quiet:
            print(*(Path(args.output) / name for name in files), sep="\n")
    else:
        heads = [f"# {name}\n" if len(files) > 1 else "" for name in files]
        print("\n".join(head + text for head, text in zip(heads, files.values())), end="")
    if not args.quiet:
        for note in notes:
            print(f"l3flow: note: {note}", file=sys.stderr)
