"""A CronJob for Kubernetes 1.31 or later."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import yaml

from l3core.errors import UsageError
from launch.schedules.job import Job

USER = 10001  # anybody but root: the image runs as whoever it is told
WRONG_USE = 2  # exit code that no retry cures


class _Quoted(str):
    """A text that is always quoted: YAML's readers differ in what they take for a number or a yes."""


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _represent(dumper: yaml.SafeDumper, text: _Quoted) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style='"')


_Dumper.add_representer(_Quoted, _represent)


def write(job: Job) -> dict[str, str]:
    """The manifest.

    Raises:
        UsageError: a secret's file whose name Kubernetes cannot hold, a path where it mounts nothing.
    """
    manifest = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": job.name},
        "spec": {
            "schedule": _Quoted(job.when.cron),
            "timeZone": _Quoted(job.zone or "Etc/UTC"),
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 3600,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 10,
            "jobTemplate": {
                "spec": {
                    "backoffLimit": 2,
                    "podFailurePolicy": {"rules": [_fail_at_once()]},
                    "template": {"spec": _pod(job)},
                }
            },
        },
    }
    text = yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**20)
    return {f"{job.name}.yaml": f"# {job.title}\n{text}"}


def _fail_at_once() -> dict[str, Any]:
    codes = {"containerName": "l3flow", "operator": "In", "values": [WRONG_USE]}
    return {"action": "FailJob", "onExitCodes": codes}


def _pod(job: Job) -> dict[str, Any]:
    mounts, volumes = _volumes(job)
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "l3flow",
                "image": _Quoted(job.options.image),
                "command": [_Quoted(_literal(job.executable))],
                "args": [_Quoted(_literal(each)) for each in job.argv],
                "env": _environment(job),
                "resources": {
                    "requests": {"cpu": "2", "memory": "4Gi"},
                    "limits": {"memory": "8Gi"},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": mounts,
            }
        ],
        "volumes": volumes,
    }
    if job.options.service_account:
        pod = {"serviceAccountName": _Quoted(job.options.service_account)} | pod
    return pod


def _literal(text: str) -> str:
    """A text that Kubernetes puts no variable into: it reads $(NAME), and $$ as $."""
    return text.replace("$", "$$")


def _environment(job: Job) -> list[dict[str, Any]]:
    fixed = {"HOME": "/tmp", "XDG_CACHE_HOME": "/cache"}
    secret = _Quoted(job.options.secret)
    return [
        *({"name": name, "value": value} for name, value in fixed.items()),
        *(
            {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": name}}}
            for name in map(_Quoted, job.secrets.variables)
        ),
    ]


def _volumes(job: Job) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Mounts of the container, and the volumes that they are of."""
    mounts: list[dict[str, Any]] = [
        {"name": "tmp", "mountPath": "/tmp"},
        {"name": "cache", "mountPath": "/cache"},
    ]
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}, {"name": "cache", "emptyDir": {}}]
    for number, (claim, path) in enumerate(job.options.volumes):
        mounts.append({"name": f"volume-{number}", "mountPath": _Quoted(path)})
        claimed = {"persistentVolumeClaim": {"claimName": _Quoted(claim)}}
        volumes.append({"name": f"volume-{number}"} | claimed)
    if files := sorted(set(job.secrets.files)):
        keys = [_key(file) for file in files]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise UsageError(
                f"--storage-option file:{files[0]}: in the Secret two files both are called {twice[0]}"
            )
        for file in files:
            where = {"mountPath": _Quoted(file), "subPath": _Quoted(_key(file)), "readOnly": True}
            mounts.append({"name": "secret"} | where)
        secret = {"secretName": _Quoted(job.options.secret), "defaultMode": 0o440}
        volumes.append({"name": "secret", "secret": secret})
    _check_mounts([mount["mountPath"] for mount in mounts])
    return mounts, volumes


def _check_mounts(paths: Sequence[str]) -> None:
    """Raise for what the API server would refuse."""
    for path in paths:
        if ":" in path:
            raise UsageError(f"{path}: Kubernetes mounts nothing at a path with a colon")
        if paths.count(path) > 1:
            raise UsageError(f"{path}: two volumes at one path; /tmp and /cache are there already")


def _key(file: str) -> str:
    name = PurePosixPath(file).name
    if not re.fullmatch(r"[-._A-Za-z0-9]+", name):
        raise UsageError(
            f"--storage-option file:{file}: keys of a Secret have letters, digits, -, _ and . only; "
            "name the file otherwise"
        )
    return name
