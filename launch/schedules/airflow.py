"""A DAG for Airflow 2.9 or later, and 3."""

from launch.schedules.job import Job

DAG = '''\
# {title}
"""Runs l3flow on a schedule. Written by `l3flow schedule --to airflow`."""

import os
import subprocess
from datetime import timedelta

import pendulum
from airflow.exceptions import AirflowException, AirflowFailException
from airflow.timetables.trigger import CronTriggerTimetable

try:
    from airflow.sdk import DAG, BaseOperator, Variable
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.models import Variable
    from airflow.models.baseoperator import BaseOperator

WRONG_USE = 2  # exit code that no retry cures
# No shell and no template reads these.
COMMAND = [
{command}
]
# Variables of Airflow that the command gets in its environment.
VARIABLES = {variables!r}


class L3flow(BaseOperator):
    """Runs the command; what it says is the task's log."""

    process = None

    def execute(self, context):
        environment = os.environ | {{name: Variable.get(name) for name in VARIABLES}}
        self.process = subprocess.Popen(
            COMMAND,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
        )
        for line in self.process.stdout:
            self.log.info("%s", line.rstrip())
        code = self.process.wait()
        if code == WRONG_USE:
            raise AirflowFailException("wrong use: see the lines above")
        if code != 0:
            raise AirflowException(f"l3flow ended with exit code {{code}}: see the lines above")

    def on_kill(self):
        """End it in the middle: the table is as it was, and the next run takes over what was done."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()


with DAG(
    dag_id={name!r},
    schedule=CronTriggerTimetable({cron!r}, timezone={zone!r}),
    start_date=pendulum.datetime(2024, 1, 1, tz={zone!r}),
    catchup=False,
    max_active_runs=1,
    tags=["l3flow"],
):
    L3flow(task_id={task!r}, retries=2, retry_delay=timedelta(minutes=10))
'''


def write(job: Job) -> dict[str, str]:
    """The DAG's file, whose values are Python's own literals."""
    words = (job.executable, *job.argv)
    text = DAG.format(
        title=job.title,
        command="\n".join(f"    {word!r}," for word in words),
        variables=list(job.secrets.variables),
        name=job.name,
        cron=job.when.cron,
        zone=job.zone,
        task=job.argv[0],
    )
    return {f"{job.name}.py": text}
