"""`--on-failure` and `--notify`: a shell command and a post to the web that tell how a run ended.

What they are told goes through the environment, standard input and a body, never into the text of the
command. The URL may hold a secret, as those of chat programs do: nothing of it is shown or recorded.
"""

import argparse
import html
import ipaddress
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from l3core.errors import UsageError
from l3core.storage_options import is_named, read_named
from launch.exits import DONE
from launch.options import Parser
from launch.quiet import quiet_libraries

COMMAND_S = 60.0
ANSWER_S = 10.0
WAITS_S = (1.0, 4.0)  # before the second and the third try
NEEDS = "--notify needs an https:// URL, or http:// of this machine, or env:NAME or file:PATH of one"


class NoticeError(Exception):
    """Somebody could not be told; the message has nothing of the URL in it."""


class _PassingError(NoticeError):
    """The same for a reason that may pass."""


@dataclass(frozen=True)
class Notices:
    """Who is told how a run ended.

    Attributes:
        on_failure: a shell command, for every end that is not exit code 0.
        url: that facts are posted to.
        always: posted of a run that ended well, too.
    """

    on_failure: str | None = None
    url: str | None = field(default=None, repr=False)
    always: bool = False

    def wanted(self, code: int) -> bool:
        """Whether somebody is to be told of a run that ends with an exit code."""
        failed = code != DONE
        return bool((self.on_failure and failed) or (self.url and (failed or self.always)))

    def send(self, facts: dict[str, Any]) -> list[str]:
        """Tell them; returns what went wrong, a line each.

        Args:
            facts: of the run, for JSON; `exit_code` is one of them.
        """
        problems = []
        if self.on_failure and facts["exit_code"] != DONE:
            problem = run_command(self.on_failure, facts)
            problems += [f"--on-failure: {problem}"] if problem else []
        if self.url:
            try:
                with quiet_libraries():  # they would log the URL
                    post(self.url, facts)
            except NoticeError as error:
                problems.append(f"--notify: {error}")
        return problems


def add_notice_flags(parser: Parser) -> None:
    """`--on-failure`, `--notify` and `--notify-on`."""
    group = parser.add_argument_group("being told", "Of a run's end; docs/nightly.md has what is told.")
    group.add_argument(
        "--on-failure",
        metavar="COMMAND",
        help="run by the shell if the exit code is not 0; told by L3FLOW_... variables, and by JSON on "
        "its standard input",
    )
    group.add_argument(
        "--notify",
        metavar="URL",
        help="JSON is posted to it: https://, or http:// of this machine; env:NAME or file:PATH of a "
        "URL that holds a secret",
    )
    group.add_argument(
        "--notify-on",
        choices=("failure", "always"),
        help="failure: if the exit code is not 0 (default)",
    )


def notices_of(args: argparse.Namespace) -> Notices:
    """Who is to be told.

    Raises:
        UsageError: `--notify` is no URL that can be posted to.
    """
    if args.notify_on and not args.notify:
        raise UsageError("--notify-on needs --notify")
    url = None if args.notify is None else _url(args.notify)
    return Notices(args.on_failure, url, args.notify_on == "always")


def _url(given: str) -> str:
    if is_named(given):
        try:
            given, named = read_named(given), given
        except (KeyError, OSError, UnicodeDecodeError):
            raise UsageError(f"--notify: there is no {given}") from None
        needs = f"{NEEDS}; what {named} holds is none"
    else:
        needs = NEEDS
    try:
        parts = urlsplit(given)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise UsageError(needs) from None
    if not host or not given.isprintable() or " " in given:
        raise UsageError(needs)
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_this_machine(host)):
        raise UsageError(needs)
    return given


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def post(url: str, facts: dict[str, Any]) -> None:
    """Post facts as JSON, with a few tries.

    Raises:
        NoticeError: nobody took them.
    """
    body = json.dumps(facts | {"text": text_of(facts)}).encode()
    for wait_s in (*WAITS_S, None):
        try:
            _post_once(url, body)
            return
        except _PassingError as error:
            if wait_s is None:
                tries = len(WAITS_S) + 1
                raise NoticeError(f"{error}, tried {tries} times") from None
            time.sleep(wait_s)


def _post_once(url: str, body: bytes) -> None:
    import requests

    with requests.Session() as session:
        session.trust_env = url.lower().startswith("https:")  # a proxy does not lead to this machine
        try:
            with session.post(
                url,
                data=body,
                headers={"Content-Type": "application/json"},
                timeout=ANSWER_S,
                allow_redirects=False,  # the body is not for others
                stream=True,  # what they answer is not read
            ) as response:
                status = response.status_code
        # the errors of requests have the URL in their words
        except requests.Timeout:
            raise _PassingError(f"no answer within {ANSWER_S:.0f} s") from None
        except requests.exceptions.SSLError:
            raise NoticeError("the server's certificate or TLS is not accepted") from None
        except requests.ConnectionError:
            raise _PassingError("the server cannot be reached, or broke off") from None
        except (requests.RequestException, ValueError) as error:
            raise NoticeError(f"the URL cannot be posted to ({type(error).__name__})") from None
    if 300 <= status < 400:
        raise NoticeError(f"the server redirects ({status}), which is not followed")
    if status in (408, 425, 429) or status >= 500:
        raise _PassingError(f"the server answered {status}")
    if not 200 <= status < 300:
        raise NoticeError(f"the server answered {status}")


def text_of(facts: dict[str, Any]) -> str:
    """The facts in a line, as chat programs show it: & < > are written as in HTML."""
    told = f": {facts['message']}" if facts["message"] else ""
    line = f"l3flow {facts['command']} on {facts['host']}, {facts['table']}: {facts['status']}{told}"
    return html.escape(line, quote=False)


def run_command(command: str, facts: dict[str, Any]) -> str | None:
    """Let the shell run a command that is told the facts; what went wrong with it, if anything.

    It prints on the screen of this process's errors, so that the JSON on standard output stays whole.
    """
    variables = {
        f"L3FLOW_{name.upper()}": "" if value is None else str(value)
        for name, value in facts.items()
        if not isinstance(value, (dict, list))
    }
    process = subprocess.Popen(
        command,
        shell=True,  # as it was given: nothing is put into it
        stdin=subprocess.PIPE,
        stdout=2,
        env=os.environ | variables,
        start_new_session=True,  # to end what it has started, too
    )
    try:
        process.communicate(json.dumps(facts).encode(), timeout=COMMAND_S)
    except subprocess.TimeoutExpired:
        return f"was stopped after {COMMAND_S:.0f} s"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return f"ended with exit code {process.returncode}" if process.returncode else None
