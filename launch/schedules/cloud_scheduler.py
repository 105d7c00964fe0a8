"""A job of Google's Cloud Scheduler that starts a Cloud Run job with this command's arguments."""

import base64
import json
from typing import Any

from l3core.errors import UsageError
from launch.options import EMAIL
from launch.schedules.job import Job

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
LONGEST_DESCRIPTION = 499


def write(job: Job) -> dict[str, str]:
    """The body of `projects.locations.jobs.create`.

    The arguments take the place of those of the Cloud Run job; secrets are that job's own, since an
    override holds values in the open.

    Raises:
        UsageError: a file of a secret, which only the Cloud Run job can mount.
    """
    options = job.options
    place = f"projects/{options.project}/locations/{options.region}"
    overrides = {"overrides": {"containerOverrides": [{"args": list(job.argv)}]}}
    needed = [*(f"variable {name}" for name in job.secrets.variables)]
    needed += [f"file {path}" for path in job.secrets.files]
    secrets = f"; secrets of the Cloud Run job: {', '.join(needed)}" if needed else ""
    description = f"{job.title}{secrets}"
    if len(description.encode()) > LONGEST_DESCRIPTION:
        raise UsageError(f"--storage-option names more secrets than a description holds: {secrets}")
    url = f"https://run.googleapis.com/v2/{place}/jobs/{options.job}:run"
    return posting(job, place, url, overrides, description)


def posting(job: Job, place: str, url: str, body: dict[str, Any], description: str) -> dict[str, str]:
    """A job of Cloud Scheduler that posts JSON to an API of Google's.

    Args:
        job: what is scheduled.
        place: projects/PROJECT/locations/REGION.
        url: of the API.
        body: that is posted.
        description: of the job.

    Raises:
        UsageError: --service-account is the email of none.
    """
    account = job.options.service_account
    if not EMAIL.fullmatch(account):
        raise UsageError(
            "--service-account needs the email of the account that launches, as "
            f"launch@my-project.iam.gserviceaccount.com, got {account!r}"
        )
    text = json.dumps(body, ensure_ascii=False).encode()
    resource = {
        "name": f"{place}/jobs/{job.name}",
        "description": description,
        "schedule": job.when.cron,
        "timeZone": job.zone,
        "attemptDeadline": "180s",
        "retryConfig": {
            "retryCount": 3,
            "minBackoffDuration": "30s",
            "maxBackoffDuration": "600s",
            "maxDoublings": 4,
        },
        "httpTarget": {
            "uri": url,
            "httpMethod": "POST",
            "headers": {"Content-Type": "application/json"},
            "body": base64.b64encode(text).decode(),
            "oauthToken": {"serviceAccountEmail": account, "scope": SCOPE},
        },
    }
    return {f"{job.name}.json": json.dumps(resource, indent=2, ensure_ascii=False) + "\n"}
