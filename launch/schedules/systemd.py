"""A service and a timer for systemd 247 or later (Debian 11), with no more rights than a run needs."""

import shlex
from collections.abc import Sequence

from l3core.errors import UsageError
from launch.schedules.job import Job

SERVICE = """\
# {title}
{before}[Unit]
Description={description}
Wants=network-online.target
After=network-online.target
# To be told of a failure, name a unit of yours:
# OnFailure=tell-me@%n.service

[Service]
Type=oneshot
User={user}
ExecStart={command}
{environment}# It may write these folders and its cache only, where libraries keep compiled code, too.
{writable}CacheDirectory=l3flow
Environment=XDG_CACHE_HOME=%C/l3flow
ProtectSystem=strict
ProtectHome=read-only
{private_tmp}NoNewPrivileges=yes
CapabilityBoundingSet=
LockPersonality=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
# Not PrivateDevices, ProtectClock or MemoryDenyWriteExecute: they take GPUs and compiled code away.
"""
TIMER = """\
# {title}
[Unit]
Description={description}

[Timer]
{calendar}
# What was missed while the machine was off is made up for when it is on again.
Persistent=true

[Install]
WantedBy=timers.target
"""
TEMPORARY = ("/tmp", "/var/tmp")


def write(job: Job) -> dict[str, str]:
    """The two units.

    Raises:
        UsageError: a path that systemd could not run.
    """
    if any(char in job.executable for char in "$'\"\\"):
        raise UsageError(
            f"--executable {job.executable}: systemd has no way to name a program with $, quotes or "
            "backslashes in its path"
        )
    description = job.title.replace("%", "%%")
    folders = list(dict.fromkeys(job.written))
    in_temporary = _in_temporary(job)
    writable = [*folders, "/tmp"] if in_temporary else folders  # a run needs a place for temporary files
    made = f"# Once, before the first run: mkdir -p {shlex.join(folders)}\n"
    return {
        f"{job.name}.service": SERVICE.format(
            title=job.title,
            before=made if folders else "",
            description=description,
            user=job.options.user,
            command=command_line((job.executable, *job.argv)),
            environment=_environment(job.options.env_file),
            writable=f"ReadWritePaths={' '.join(map(_path, writable))}\n" if writable else "",
            private_tmp="" if in_temporary else "PrivateTmp=yes\n",
        ),
        f"{job.name}.timer": TIMER.format(
            title=job.title,
            description=description,
            calendar="\n".join(f"OnCalendar={each}" for each in job.when.calendar(job.zone)),
        ),
    }


def command_line(argv: Sequence[str]) -> str:
    """A command as ExecStart= takes it: no specifiers (%), no variables ($), each word quoted."""
    return " ".join(_path(word).replace("$", "$$") for word in argv)


def _path(text: str) -> str:
    """A word in double quotes, with backslashes as C has them, and without specifiers."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def _environment(file: str) -> str:
    return f"EnvironmentFile={file.replace('%', '%%')}\n" if file else ""


def _in_temporary(job: Job) -> bool:
    paths = (*job.written, *job.read, *job.secrets.files)
    return any(path == each or path.startswith(f"{each}/") for path in paths for each in TEMPORARY)
