"""How long a recording may be: a few megabytes of FLAC can hold days of silence."""

import os

LIMIT = "L3FLOW_MAX_DURATION"  # in hours; processes that this one starts inherit it
DEFAULT_HOURS = 336.0  # recorders in the field make files of a day or a week


def limit_durations(most: float | None) -> None:
    """Set the limit in hours, for this process and those that it starts; None for the default."""
    os.environ[LIMIT] = str(DEFAULT_HOURS if most is None else most)


def max_duration() -> float:
    """Hours of a recording that is read at most."""
    return float(os.environ.get(LIMIT, DEFAULT_HOURS))


def too_long() -> str:
    """What is said of a recording that is longer."""
    return f"longer than {max_duration():,g} hours: --max-duration allows more"
