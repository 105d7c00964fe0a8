"""The CronJob and the job of Cloud Scheduler, held against what their readers publish."""

import base64
import json
import re

import jsonschema
import pytest
import yaml
from hypothesis import given, settings

from launch.schedules import kubernetes
from launch.schedules.job import Job, Options
from launch.schedules.when import parse_every
from tests.discovery import changed, closed, schema
from tests.launch.schedules.test_given import refused
from tests.schedules import HOSTILE, TO, WORDS, embedding, schedule

CRONJOB = schema("cronjob")
JOB, RUN = closed(schema("cloudscheduler")), closed(schema("run"))
for google in (JOB, RUN):
    google["$ref"] = f"#/$defs/{google['$ref'].rpartition('/')[2]}"


def errors_of(document, rules):
    return [error.message for error in jsonschema.Draft202012Validator(rules).iter_errors(document)]


def expanded(text, environment):
    """What Kubernetes makes of an argument: the loop of its expansion.go."""
    found, at = "", 0
    while at < len(text):
        if text[at] != "$" or at + 1 == len(text):
            found, at = found + text[at], at + 1
        elif text[at + 1] == "$":
            found, at = found + "$", at + 2
        elif text[at + 1] == "(" and ")" in text[at:]:
            end = text.index(")", at)
            name = text[at + 2 : end]
            found, at = found + environment.get(name, f"$({name})"), end + 1
        else:
            found, at = found + text[at : at + 2], at + 2
    return found


def cronjob(capsys, *command, flags=(), **more):
    facts = schedule(capsys, "k8s", *command, flags=flags, **more)
    return facts, yaml.safe_load(facts["files"][f"{facts['name']}.yaml"])


def test_the_schemas_are_schemas():
    for rules in (CRONJOB, JOB, RUN):
        jsonschema.Draft202012Validator.check_schema(rules)


SECRETS = ["--storage-option", "key=env:KEY", "--storage-option", "secret=file:/etc/s/key.json"]


def test_kubernetes_takes_the_cronjob(capsys):
    flags = ["--secret", "store", "--service-account", "nightly", "--time-zone", "Europe/Berlin"]
    facts, manifest = cronjob(
        capsys,
        *embedding(*(f"/data/{name}" for name in HOSTILE)),
        *SECRETS,
        flags=flags,
        every="6 hours",
    )
    assert errors_of(manifest, CRONJOB) == []
    spec = manifest["spec"]
    assert (spec["schedule"], spec["timeZone"]) == ("0 */6 * * *", "Europe/Berlin")
    assert spec["concurrencyPolicy"] == "Forbid"
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environment = {"HOME": "/home/me"}
    assert [expanded(each, environment) for each in container["args"]] == facts["command"][1:]
    assert container["env"][-1] == {
        "name": "KEY",
        "valueFrom": {"secretKeyRef": {"name": "store", "key": "KEY"}},
    }
    assert container["volumeMounts"][-1] == {
        "name": "secret",
        "mountPath": "/etc/s/key.json",
        "subPath": "key.json",
        "readOnly": True,
    }
    assert pod["volumes"][-1] == {
        "name": "secret",
        "secret": {"secretName": "store", "defaultMode": 0o440},
    }
    claims = [
        each["persistentVolumeClaim"] for each in pod["volumes"] if "persistentVolumeClaim" in each
    ]
    assert claims == [{"claimName": "audio"}]
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        each["name"] for each in pod["volumes"]
    }


def test_the_pod_has_no_more_rights_than_a_run_needs(capsys):
    _, manifest = cronjob(capsys, *embedding("gs://b/a"))
    pod = manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["restartPolicy"] == "Never"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert set(container["resources"]) == {"requests", "limits"}


@pytest.mark.parametrize(
    ("volumes", "says"),
    [
        (["a=/data", "b=/data/"], "two volumes at one path"),
        (["a=/tmp"], "/tmp and /cache are there already"),
        (["a=/da:ta"], "at a path with a colon"),
    ],
)
def test_kubernetes_would_not_mount_that(capsys, volumes, says):
    flags = [word for each in volumes for word in ("--volume", each)]
    command = ["--", "embed", "--input", "gs://b/audio", "--output", "gs://b/table"]
    given = ["--to", "k8s", "--every", "night", "--image", "registry.example/l3flow:1", *flags]
    assert says in refused(capsys, [*given, *command])


TEMPLATE = ["spec", "jobTemplate", "spec", "template", "spec"]


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (["spec", "timezone"], "UTC", "'timezone' was unexpected"),
        (["spec", "startingDeadlineSeconds"], "1h", "'1h' is not of type 'integer'"),
        (["spec", "jobTemplate", "spec", "retries"], 1, "'retries' was unexpected"),
        ([*TEMPLATE, "automountServiceAccountTokens"], False, "was unexpected"),
        ([*TEMPLATE, "containers", 0, "args"], "embed", "'embed' is not of type 'array'"),
        ([*TEMPLATE, "containers", 0, "args", 0], 1, "1 is not of type 'string'"),
    ],
)
def test_kubernetes_refuses_what_is_misspelt_or_of_another_type(capsys, path, value, says):
    _, manifest = cronjob(capsys, *embedding("gs://b/a"))
    errors = errors_of(changed(manifest, path, value), CRONJOB)
    assert [error for error in errors if says in error] == errors != []


@settings(deadline=None)
@given(WORDS)
def test_any_word_is_quoted(word):
    job = Job(
        name="x",
        when=parse_every("night"),
        zone="Etc/UTC",
        every="night",
        executable="l3flow",
        argv=("embed", word),
        options=Options(image="i"),
    )
    text = kubernetes.write(job)["x.yaml"]
    pod = yaml.safe_load(text)["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert [expanded(each, {}) for each in pod["containers"][0]["args"]] == ["embed", word]
    assert re.search(r'^ +- "embed"$', text, re.MULTILINE)  # quoted: Go reads 1e3 and y otherwise


def test_a_secrets_file_that_no_key_can_be_named_after(capsys):
    option = ["--storage-option", "secret=file:/etc/a key"]
    argv = [
        "--to",
        "k8s",
        "--every",
        "night",
        *TO["k8s"],
        "--secret",
        "s",
        "--",
        *embedding("gs://b/a"),
        *option,
    ]
    assert "name the file otherwise" in refused(capsys, argv)


def test_two_files_of_secrets_that_are_called_the_same(capsys):
    options = ["--storage-option", "key=file:/a/key", "--storage-option", "secret=file:/b/key"]
    flags = ["--to", "k8s", "--every", "night", *TO["k8s"], "--secret", "s"]
    assert "both are called key" in refused(capsys, [*flags, "--", *embedding("gs://b/a"), *options])


def cloud_job(capsys, *command, **more):
    facts = schedule(capsys, "cloud-scheduler", *command, **more)
    resource = json.loads(facts["files"][f"{facts['name']}.json"])
    return facts, resource, json.loads(base64.b64decode(resource["httpTarget"]["body"]))


def test_google_takes_the_job_and_what_it_posts(capsys):
    command = embedding(*(f"/data/{name}" for name in HOSTILE))
    facts, resource, body = cloud_job(capsys, *command, *SECRETS, every="monday at 04:00")
    assert errors_of(resource, JOB) == []
    assert errors_of(body, RUN) == []
    (override,) = body["overrides"]["containerOverrides"]
    assert override == {"args": facts["command"][1:]}
    assert (resource["schedule"], resource["timeZone"]) == ("0 4 * * 1", "Etc/UTC")
    assert "variable KEY, file /etc/s/key.json" in resource["description"]


def test_the_job_posts_to_where_a_cloud_run_job_is_run(capsys):
    _, resource, _ = cloud_job(capsys, *embedding("gs://b/a"))
    address, target = RUN["address"], resource["httpTarget"]
    base, name = address["root"] + "v2/", target["uri"].removeprefix(address["root"] + "v2/")
    assert address["path"] == "v2/{+name}:run"
    assert re.match(address["pattern"], name.removesuffix(":run"))
    assert target["uri"] == f"{base}projects/p/locations/europe-west1/jobs/l3flow:run"
    assert target["httpMethod"] == address["method"]
    assert target["oauthToken"]["scope"] in address["scopes"]
    assert re.match(JOB["address"]["pattern"], resource["name"].partition("/jobs/")[0])


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (["timezone"], "UTC", "'timezone' was unexpected"),
        (["retryConfig", "retryCount"], "3", "'3' is not of type 'integer'"),
        (["httpTarget", "httpMethod"], "PSOT", "'PSOT' is not one of"),
        (["httpTarget", "oauthToken", "email"], "x", "'email' was unexpected"),
    ],
)
def test_google_refuses_what_is_misspelt_or_of_another_type(capsys, path, value, says):
    _, resource, body = cloud_job(capsys, *embedding("gs://b/a"))
    errors = errors_of(changed(resource, path, value), JOB)
    assert [error for error in errors if says in error] == errors != []
    assert errors_of(changed(body, ["overrides", "containerOverrides", 0, "arg"], []), RUN) != []
