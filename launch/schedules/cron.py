"""A line for crontab(1), as Debian's cron reads it."""

import os
import re
import shlex

from l3core.errors import UsageError
from launch.schedules.job import Job

LONGEST = 998  # bytes of a command: MAX_COMMAND of cron, less its end


def write(job: Job) -> dict[str, str]:
    """The crontab's line, below one that says what it is.

    All that the command says goes to a log; cron mails the end of it when the command fails, and
    nothing otherwise. Two runs at once are kept apart by the table's lock, so there is no `flock`.

    Raises:
        UsageError: a line that cron would not take.
    """
    log = quoted(job.options.log)
    words = " ".join(map(quoted, (job.executable, *job.argv)))
    path = quoted(f"{os.path.dirname(job.executable)}:/usr/local/bin:/usr/bin:/bin")
    command = f"PATH={path} {words} >>{log} 2>&1 || tail -n 5 {log}"
    if job.options.env_file:
        command = f"set -a; . {quoted(job.options.env_file)}; set +a; {command}"
    if (size := len(command.encode())) > LONGEST:
        raise UsageError(
            f"cron takes commands of at most {LONGEST} bytes, and this one has {size}: give the inputs "
            "as a list (--input @FILE), or use --to systemd"
        )
    return {f"{job.name}.cron": f"# {job.title}\n{job.when.cron} {command}\n"}


def quoted(text: str) -> str:
    r"""A word for /bin/sh in a crontab, where an unescaped % ends the command.

    Before the shell sees it, cron takes the backslash from `\%` and one of two that stand together, in
    quotes or not. So a % stands outside of quotes, and between two backslashes they end and begin.
    """
    if "%" not in text:
        return _in_quotes(text)
    return r"\%".join(_in_quotes(part) if part else "" for part in text.split("%"))


def _in_quotes(text: str) -> str:
    return re.sub(r"\\(?=\\)", r"\\''", shlex.quote(text))
