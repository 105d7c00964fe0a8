"""Parameters of the Flex Template: the options of `l3flow embed` under names that templates have.

A parameter is called as its flag, with `_` for `-`, and has a text for a value, which Google's launcher
hands on as `--name=value`. A switch is `true` or `false`. A flag that takes several values, or may be
given several times, has one value as it is, or a JSON list of texts: what stands in them needs no
separator that names of objects could have, too.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

from l3core.errors import UsageError
from launch import embed, options

# Flags that a template has no parameter for, and why.
WITHOUT = {
    "--runner": "it runs on Dataflow",
    "--detach": "a template never waits",
    "--flink-master": "it runs on Dataflow",
    "--flink-environment": "it runs on Dataflow",
    "--flink-job-server-jar": "it runs on Dataflow",
    "--dry-run": "it would launch a job all the same; try the command itself",
    "--log-file": "the launcher's log has all that is said",
    "--quiet": "the launcher's log has all that is said",
    "--json": "the launcher's log has all that is said",
    "--on-failure": "the machine that launches does not know how the job ends",
    "--notify": "the machine that launches does not know how the job ends",
    "--notify-on": "the machine that launches does not know how the job ends",
}
# Flags whose values the API has fields of its own for, which Google's launcher hands on as options of
# Beam. As parameters, too, they could be given twice.
OF_THE_LAUNCH = (
    "--project",
    "--region",
    "--temp-location",
    "--workers",
    "--machine-type",
    "--disk-size",
    "--service-account",
    "--network",
    "--subnetwork",
    "--no-public-ips",
    "--label",
)
# What the API holds values against before it launches anything (POSIX egrep), by what argparse makes of
# them; the launcher checks them as the command does.
REGEXES: dict[Any, str] = {
    options.positive: "^0*[1-9][0-9]*$",
    options.whole_number: "^-?[0-9]+$",
    options.byte_count: "^[0-9]+([.][0-9]*)? *[kKMGT]?B?$",
    options.most: "^([0-9]+([.][0-9]+)?%|[0-9]+)$",
}
TYPES: dict[Any, str] = {options.positive: "NUMBER", options.whole_number: "NUMBER"}
TABLE = "^gs://.+$"

Values = dict[str, bool | str | list[str]]  # flag -> what it was given, as it was written


def name_of(flag: str) -> str:
    """The parameter that stands for a flag."""
    return flag.removeprefix("--").replace("-", "_")


def actions() -> dict[str, argparse.Action]:
    """Parameter -> the flag of the command that it stands for."""
    left_out = {"--help", *WITHOUT, *OF_THE_LAUNCH}
    found = {_flag(action): action for action in embed.build_parser("l3flow embed")._actions}
    return {name_of(flag): action for flag, action in found.items() if flag not in left_out}


def metadata() -> list[dict[str, Any]]:
    """The parameters as the spec of a template has them (`ParameterMetadata`), needed ones first."""
    return sorted(map(_described, actions().values()), key=lambda each: each["isOptional"])


def values_of(argv: Sequence[str]) -> Values:
    """What a command line that was checked gives its flags, as it was written."""
    parser = embed.build_parser("l3flow embed")
    for action in parser._actions:
        action.type, action.default = None, argparse.SUPPRESS
    given = vars(parser.parse_known_args(argv)[0])
    flags = {action.dest: _flag(action) for action in parser._actions}
    return {flags[name]: value for name, value in given.items() if name in flags}


def parameters_of(values: Values) -> dict[str, str]:
    """Values of flags -> the parameters of a launch, without flags that are `OF_THE_LAUNCH`.

    Raises:
        UsageError: a flag has no place in a template.
    """
    found = {}
    for flag, value in values.items():
        if flag in WITHOUT and flag not in ("--runner", "--detach"):
            raise UsageError(f"{flag} has no place in a template: {WITHOUT[flag]}")
        if flag in WITHOUT or flag in OF_THE_LAUNCH:
            continue
        found[name_of(flag)] = _text(value)
    return found


def flags_of(parameters: Mapping[str, str]) -> list[str]:
    """The parameters of a launch -> the command line that they mean.

    Raises:
        UsageError: a value is not what a parameter of its kind has; the command itself checks the rest.
    """
    known = actions()
    found: list[str] = []
    for name, text in parameters.items():
        action = known[name]
        flag = _flag(action)
        if not text and not action.required:  # a field that was left empty
            continue
        if action.nargs == 0:
            on, off = flag, f"--no-{flag.removeprefix('--')}"
            said = on if is_true(name, text) else off
            found += [said] if said in action.option_strings else []
        elif action.nargs == "+":
            texts = _texts(name, text)
            if bad := [each for each in texts if each.startswith("-")]:
                raise UsageError(f"{name} has a value that looks like a flag: {bad[0]!r}")
            found += [flag, *texts]
        elif isinstance(action, argparse._AppendAction):
            found += [f"{flag}={each}" for each in _texts(name, text)]
        else:
            found.append(f"{flag}={text}")
    return found


def _is_needed(action: argparse.Action) -> bool:
    # as an option it would be missed only by a run on Dataflow
    return action.required or _flag(action) == "--sdk-container-image"


def _flag(action: argparse.Action) -> str:
    return next((flag for flag in action.option_strings if flag.startswith("--")), action.dest)


def _takes_several(action: argparse.Action) -> bool:
    return action.nargs == "+" or isinstance(action, argparse._AppendAction)


def _described(action: argparse.Action) -> dict[str, Any]:
    flag = _flag(action)
    help_text = " ".join((action.help or "").replace("%%", "%").split())
    several = '. Several as a JSON list: ["A", "B"]' if _takes_several(action) else ""
    found: dict[str, Any] = {
        "name": name_of(flag),
        "label": flag.removeprefix("--").replace("-", " ").capitalize(),
        "helpText": help_text + several,
        "isOptional": not _is_needed(action),
        "paramType": TYPES.get(action.type, "TEXT"),
    }
    if action.nargs == 0:
        found |= {"paramType": "BOOLEAN", "regexes": ["^(true|false)$"]}
    elif action.choices:
        words = [str(each) for each in action.choices]
        found |= {"paramType": "ENUM", "enumOptions": [{"value": each} for each in words]}
        found["regexes"] = [f"^({'|'.join(words)})$"]
    elif action.type in REGEXES:
        found["regexes"] = [REGEXES[action.type]]
    elif flag == "--output":
        found |= {"paramType": "GCS_WRITE_FOLDER", "regexes": [TABLE]}
    return found


def _text(value: bool | str | list[str]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    plain = len(value) == 1 and not value[0].startswith("[")
    return value[0] if plain else json.dumps(value, ensure_ascii=False)


def _texts(name: str, text: str) -> list[str]:
    if not text.startswith("["):
        return [text]
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not found or not all(isinstance(each, str) for each in found):
        raise UsageError(f'{name} needs one value, or several as a JSON list, ["A", "B"], got {text!r}')
    return found


def is_true(name: str, text: str) -> bool:
    """What the text of a switch means.

    Raises:
        UsageError: it is neither true nor false.
    """
    if text.lower() not in ("true", "false"):
        raise UsageError(f"{name} needs true or false, got {text!r}")
    return text.lower() == "true"
