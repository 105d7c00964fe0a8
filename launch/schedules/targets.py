"""The schedulers that there are, and what each of them has to be told."""

from collections.abc import Callable
from typing import NamedTuple

from launch.schedules import airflow, cloud_scheduler, cron, flex_template, kubernetes, systemd
from launch.schedules.job import Job


class Target(NamedTuple):
    """A scheduler.

    Attributes:
        write: makes its files from a job: name -> text.
        here: whether it is on this machine.
        takes: flags that it has.
        needs: those that it cannot do without.
        needs_for_variables: what is needed where the environment has to hold secrets.
        needs_for_files: the same where files do.
    """

    write: Callable[[Job], dict[str, str]]
    here: bool
    takes: tuple[str, ...]
    needs: tuple[str, ...] = ()
    needs_for_variables: str | None = None
    needs_for_files: str | None = None


TARGETS = {
    "cron": Target(
        cron.write, here=True, takes=("--env-file", "--log"), needs_for_variables="--env-file"
    ),
    "systemd": Target(
        systemd.write, here=True, takes=("--env-file", "--user"), needs_for_variables="--env-file"
    ),
    "k8s": Target(
        kubernetes.write,
        here=False,
        takes=("--image", "--secret", "--service-account", "--volume"),
        needs=("--image",),
        needs_for_variables="--secret",
        needs_for_files="--secret",
    ),
    "cloud-scheduler": Target(
        cloud_scheduler.write,
        here=False,
        takes=("--project", "--region", "--job", "--service-account", "--volume"),
        needs=("--project", "--region", "--job", "--service-account"),
    ),
    "flex-template": Target(
        flex_template.write,
        here=False,
        takes=("--template", "--service-account"),
        needs=("--template", "--service-account"),
    ),
    "airflow": Target(airflow.write, here=False, takes=("--volume",)),
}
