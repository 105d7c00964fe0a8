"""The job of Cloud Scheduler that launches the template, held against Google's schemas, and fired."""

import base64
import json
import re

import jsonschema
import pytest

from launch.dataflow.launched import launched
from launch.main import main
from tests.discovery import changed, closed, schema
from tests.flex_templates import REQUEST, SCHEMA, arguments, wrong_parameters
from tests.launch.schedules.test_given import refused
from tests.make_template import text
from tests.schedules import HOSTILE

JOB = closed(schema("cloudscheduler"))
JOB["$ref"] = "#/$defs/Job"
FLAGS = [
    *("--to", "flex-template", "--every", "monday at 04:00", "--name", "nightly"),
    *("--template", "gs://birds/l3flow.json"),
    *("--service-account", "fires@my-project.iam.gserviceaccount.com"),
]
DATAFLOW = [
    *("--runner", "dataflow", "--project", "my-project", "--region", "us-central1"),
    *("--temp-location", "gs://birds/temp", "--sdk-container-image", "i"),
    *("--service-account", "works@my-project.iam.gserviceaccount.com"),
]
INPUTS = [f"gs://birds/{name}" for name in HOSTILE]
EMBED = ["embed", "--input", *INPUTS, "--output", "gs://birds/table", "--prune", *DATAFLOW]


def errors_of(document, rules):
    return [error.message for error in jsonschema.Draft202012Validator(rules).iter_errors(document)]


def scheduled(capsys, *command):
    assert main(["schedule", *FLAGS, "--json", "--", *command]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    resource = json.loads(files["nightly.json"])
    return resource, json.loads(base64.b64decode(resource["httpTarget"]["body"]))


def test_google_takes_the_job_and_what_it_posts(capsys):
    resource, body = scheduled(capsys, *EMBED)
    assert errors_of(resource, JOB) == []
    assert errors_of(body, REQUEST) == []
    assert (resource["schedule"], resource["timeZone"]) == ("0 4 * * 1", "Etc/UTC")
    assert resource["name"] == "projects/my-project/locations/us-central1/jobs/nightly"
    launch = body["launchParameter"]
    assert wrong_parameters(launch["parameters"], json.loads(text())["metadata"]["parameters"]) == ""
    assert json.loads(launch["parameters"]["input"]) == INPUTS
    assert launch["parameters"]["if_running"] == "skip"
    assert launch["jobName"] == "nightly"
    account = "works@my-project.iam.gserviceaccount.com"
    assert launch["environment"]["serviceAccountEmail"] == account
    wrong = changed(body, ["launchParameter", "environment", "maxWorkers"], "3")
    assert errors_of(wrong, REQUEST) == ["'3' is not of type 'integer'"]


def test_it_posts_to_where_a_template_is_launched(capsys):
    resource, _ = scheduled(capsys, *EMBED)
    address, target = SCHEMA["address"], resource["httpTarget"]
    path = address["path"].format(projectId="my-project", location="us-central1")
    assert target["uri"] == address["root"] + path
    assert target["httpMethod"] == address["method"]
    assert target["oauthToken"]["scope"] in address["scopes"]
    account = "fires@my-project.iam.gserviceaccount.com"
    assert target["oauthToken"]["serviceAccountEmail"] == account


def test_what_is_fired_comes_to_the_launcher_as_the_command_was_given(capsys):
    _, body = scheduled(capsys, *EMBED)
    argv = launched(arguments(body["launchParameter"], "my-project", "us-central1", "1")).argv
    at = argv.index("--input")
    assert argv[at + 1 : at + 1 + len(INPUTS)] == INPUTS
    left = set(argv[:at] + argv[at + 1 + len(INPUTS) :])
    assert left == {
        *("--runner", "dataflow", "--detach", "--prune", "--if-running=skip"),
        *("--output=gs://birds/table", "--sdk-container-image=i", "--temp-location=gs://birds/temp"),
        *("--project=my-project", "--region=us-central1"),
        *("--workers=4", "--machine-type=n1-standard-4"),
        "--service-account=works@my-project.iam.gserviceaccount.com",
    }


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([*FLAGS, "--", "verify", "--table", "gs://b/t"], "--to flex-template launches embed"),
        (
            [*FLAGS, "--", "embed", "--input", "gs://b/a", "--output", "gs://b/t"],
            "not on --runner local",
        ),
        ([*FLAGS[:6], *FLAGS[8:], "--", *EMBED], "--to flex-template needs --template"),
        ([*FLAGS, "--template", "t.json", "--", *EMBED], "--template needs the spec as gs://"),
        ([*FLAGS, "--name", "1st", "--", *EMBED], "a job's name has small letters"),
        ([*FLAGS, "--", *EMBED, "--gpu", "l5"], "--gpu must be one of"),
        ([*FLAGS, "--", *EMBED, "--region", "moon"], "--region needs a region"),
        ([*FLAGS, "--", *EMBED, "--root", "/data"], "--root /data: a path of this machine"),
        ([*FLAGS, "--job", "j", "--", *EMBED], "--job is for --to cloud-scheduler"),
        (
            [*FLAGS, "--service-account", "fires", "--", *EMBED],
            "--service-account needs the email of the account that launches",
        ),
        ([*FLAGS, "--", *EMBED, "--notify", "env:URL"], "--notify has no place in a template"),
    ],
)
def test_what_cannot_be_launched_is_not_scheduled(capsys, argv, says):
    assert re.search(re.escape(says), refused(capsys, argv))
