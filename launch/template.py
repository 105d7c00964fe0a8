"""`l3flow template`: the Flex Template of `embed` on Dataflow, built and launched."""

import argparse
import json
from collections.abc import Sequence
from shlex import quote

from l3core.errors import UsageError
from launch.exits import DONE
from launch.options import Parser, add_output_flags, writing_to
from launch.places import reach_places
from launch.words import printable

DESCRIPTION = """\
The Flex Template of `l3flow embed`: Dataflow plans and runs it without this machine.

actions:
  build   write its spec, which names the image and the parameters, to a bucket (or a file, or -)
  run     launch it with the options behind --, which are those of l3flow embed and checked as they are

examples:
  l3flow template build --image IMAGE --template gs://birds/templates/l3flow.json
  l3flow template run --template gs://birds/templates/l3flow.json \\
      -- --input gs://birds/corpus --output gs://birds/table --gpu l4 --project my-project \\
      --region us-central1 --temp-location gs://birds/temp --sdk-container-image IMAGE

docs/template.md tells the rest: what the image needs, schedules, Terraform.
"""


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(
        prog=prog, description=DESCRIPTION, usage=f"{prog} build|run --template URI [-- OPTIONS]"
    )
    add = parser.add_argument
    add("action", choices=["build", "run"], metavar="ACTION")
    add("--template", required=True, metavar="URI", help="the spec: gs://bucket/template.json")
    add("--image", metavar="IMAGE", help="build: with l3flow and Google's launcher in it")
    add("--job-name", metavar="NAME", help="run: of the job (default: l3flow- and the time)")
    add("--launcher-machine-type", metavar="TYPE", help="run: that plans (default: the service's)")
    add(
        "--validate-only",
        action="store_true",
        help="run: let the service check the request, and launch nothing",
    )
    add_output_flags(parser)
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """Do the action; returns the exit code."""
    place = list(argv).index("--") if "--" in argv else None
    args = parser.parse(argv[:place])
    options = None if place is None else list(argv[place + 1 :])
    for flag, action in (
        ("--image", "build"),
        ("--job-name", "run"),
        ("--launcher-machine-type", "run"),
        ("--validate-only", "run"),
    ):
        if getattr(args, flag.removeprefix("--").replace("-", "_")) and args.action != action:
            raise UsageError(f"{flag} is for l3flow template {action}")
    return _build(args, options) if args.action == "build" else _run(args, options)


def _build(args: argparse.Namespace, options: list[str] | None) -> int:
    from l3core import storage
    from launch.dataflow.options import IMAGE_NAME
    from launch.dataflow.template import spec_of_template

    if options is not None:
        raise UsageError("l3flow template build takes no options behind --: they are given to run")
    if not IMAGE_NAME.fullmatch(args.image or ""):
        raise UsageError(f"--image needs the name of an image, got {args.image!r}")
    text = json.dumps(spec_of_template(args.image), indent=2) + "\n"
    if args.template == "-":
        print(text, end="")
        return DONE
    reach_places({"--template": args.template})
    with writing_to("--template", args.template):
        storage.write_bytes(args.template, text.encode())
    if args.json:
        print(json.dumps({"template": args.template, "image": args.image}))
    elif not args.quiet:
        print(f"template: {printable(args.template)}  image={printable(args.image)}")
    return DONE


def _run(args: argparse.Namespace, options: list[str] | None) -> int:
    from launch.dataflow.template import launching
    from launch.tables import new_run_id

    if options is None:
        raise UsageError("l3flow template run needs -- and the options of l3flow embed behind it")
    if not any(token.partition("=")[0] == "--runner" for token in options):
        options += ["--runner", "dataflow"]
    name = args.job_name or f"l3flow-{new_run_id().lower()}"
    found = launching(
        options, template=args.template, job_name=name, launcher_machine=args.launcher_machine_type
    )
    if args.validate_only:
        found.request["validateOnly"] = True
    job = found.service.launch_template(found.request)
    if args.json:
        facts = {"status": "valid"} if job is None else {"status": "launched", "job": job.id}
        print(json.dumps({**facts, "job_name": name, "table": found.table, "request": found.request}))
    elif job is None:
        if not args.quiet:
            print("valid: the service would launch it")
    elif args.quiet:
        print(job.id)
    else:
        print(f"launched: Dataflow job {job.id}, which first plans, some minutes")
        print(f"follow it then: l3flow runs --table {printable(quote(found.table))} --job {job.id}")
    return DONE
