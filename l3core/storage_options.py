"""`--storage-option KEY=VALUE`: options of the stores' clients, whose secrets are named and never held.

They are kept in an environment variable, as they were given. A value `env:NAME` or `file:PATH` is read
where a client is made, so no log, record, table or job holds it.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from l3core.errors import UsageError

CONFIGURED = "L3FLOW_STORAGE_OPTIONS"  # as JSON; processes that this one starts inherit it
_SECRET = ("key", "secret", "token", "password", "credential", "connection_string", "sas")
# Values of such options that are no secrets.
_NO_SECRET = {"anon", "google_default", "cache", "cloud", "browser"}


def configure(options: Iterable[str]) -> None:
    """Set what `--storage-option KEY=VALUE` says, for this process and those that it starts.

    Raises:
        UsageError: no KEY=VALUE, or a secret in the open.
    """
    found = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not (key and equals):
            raise UsageError(f"--storage-option needs KEY=VALUE, got {key!r}")
        named = is_named(value) or value.lower() in _NO_SECRET
        if any(word in key.lower() for word in _SECRET) and not named:
            raise UsageError(
                f"--storage-option {key}: a secret is given as {key}=env:NAME or {key}=file:PATH, so "
                "that it is in no history, log or record"
            )
        found[key] = value
    configure_as(found)


def configured() -> dict[str, str]:
    """What is configured, as it was given: workers on other machines have to know it, too."""
    return dict(json.loads(os.environ.get(CONFIGURED, "{}")))


def configure_as(options: Mapping[str, str]) -> None:
    """Configure this process, and those that it starts, as another one is (`configured`)."""
    os.environ[CONFIGURED] = json.dumps(dict(options))


def resolved_options() -> dict[str, Any]:
    """What is configured, as a client takes it: JSON (numbers, true and false, objects), or text.

    Raises:
        UsageError: there is no such variable or file.
    """
    return {key: _resolved(key, value) for key, value in configured().items()}


def _resolved(key: str, value: str) -> Any:
    if not is_named(value):
        return _from_json(value)
    try:
        text = read_named(value)
    except (KeyError, OSError, UnicodeDecodeError):
        raise UsageError(f"--storage-option {key}: there is no {value}") from None
    # Google's keys are files of JSON; a password of digits is no number
    return _from_json(text) if text.startswith("{") else text


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def hidden(text: str) -> str:
    """A text without the secrets that options name, be they as they are or as a URL has them."""
    for value in filter(is_named, configured().values()):
        try:
            secret = read_named(value)
        except (KeyError, OSError, UnicodeDecodeError):  # then nobody knows it
            continue
        for form in {secret, " ".join(secret.split()), quote(secret, safe=""), quote_plus(secret)}:
            text = text.replace(form, "***") if form else text
    return text


def is_named(value: str) -> bool:
    """Whether a value says where a secret is, as `env:NAME` or `file:PATH`."""
    return value.startswith(("env:", "file:"))


def read_named(value: str) -> str:
    """The secret that such a value names.

    Raises:
        KeyError, OSError, UnicodeDecodeError: there is none.
    """
    kind, _, name = value.partition(":")
    return os.environ[name] if kind == "env" else Path(name).read_text(encoding="utf-8").strip()
