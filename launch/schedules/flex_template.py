"""A job of Google's Cloud Scheduler that launches the Flex Template on Dataflow."""

from l3core.errors import UsageError
from launch.schedules.cloud_scheduler import posting
from launch.schedules.job import Job


def write(job: Job) -> dict[str, str]:
    """The body of `projects.locations.jobs.create`.

    Each firing posts the same, so each job of Dataflow has the same name. The service has one active job
    of a name in a region: a firing during a long run launches nothing.

    Raises:
        UsageError: the command is not `embed`, or cannot be launched.
    """
    from launch.dataflow.template import launching  # loads Google's client

    if job.argv[0] != "embed":
        raise UsageError(f"--to flex-template launches embed, and no {job.argv[0]}")
    found = launching(job.argv[1:], template=job.options.template, job_name=job.name)
    service = found.service
    url = f"{service.master}/flexTemplates:launch"
    place = f"projects/{service.project}/locations/{service.region}"
    return posting(job, place, url, found.request, job.title)
