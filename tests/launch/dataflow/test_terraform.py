"""The Terraform of the template, parsed: types and attributes by the provider's schema, roles by a list.

`terraform validate` needs the provider itself, which no registry of packages has. Its schema is that of
hashicorp/google 6.50.0 (tests/schemas/README.md).
"""

import base64
import copy
import json
import re

import hcl2
import pytest

from launch.dataflow import template
from launch.main import main
from tests.discovery import schema
from tests.launch.schedules.test_flex_template import EMBED, FLAGS
from tests.make_template import FILE

FOLDER = FILE.parent / "terraform"
SCHEMA = schema("googleprovider")["resources"]
# Of Terraform itself, in each resource.
META = {"for_each", "count", "depends_on", "lifecycle", "provider"}
# Who has which role, on what: all that there are. What each role has in it: cloud.google.com/iam/docs
# roles-permissions/dataflow, storage, artifactregistry, iam (November 2026).
ROLES = {
    ("work", "google_project_iam_member", "roles/dataflow.worker"),
    ("work", "google_project_iam_member", "roles/dataflow.viewer"),
    ("work", "google_storage_bucket_iam_member", "roles/storage.objectUser"),
    ("work", "google_storage_bucket_iam_member", "roles/storage.objectViewer"),
    ("work", "google_storage_bucket_iam_member", "roles/storage.legacyBucketReader"),
    ("work", "google_artifact_registry_repository_iam_member", "roles/artifactregistry.reader"),
    ("launch", "google_project_iam_member", "roles/dataflow.developer"),
    ("launch", "google_service_account_iam_member", "roles/iam.serviceAccountUser"),
    ("launch", "google_storage_bucket_iam_member", "roles/storage.objectViewer"),
    ("launch", "google_storage_bucket_iam_member", "roles/storage.legacyBucketReader"),
}
VALUES = {
    "project": (["my-project-1"], ["123456", "My-project", "p"]),
    "region": (["us-central1", "europe-west12"], ["us-central1-a", "us"]),
    "bucket": (["birds", "my_birds-1"], ["gs://birds", "Birds", "b", "birds/"]),
    "image": (
        ["us-docker.pkg.dev/p/images/l3flow:1", "localhost:5000/l3flow:1", f"h/l@sha256:{'0' * 64}"],
        ["l3flow", "us-docker.pkg.dev/p/images/l3flow", "h/l3 flow:1", "h/l@sha256:0"],
    ),
}


def plain(node):
    """What python-hcl2 gives, without quotes around strings and its own marks."""
    if isinstance(node, dict):
        found = {plain(key): plain(value) for key, value in node.items()}
        return {
            key: value for key, value in found.items() if key not in ("__is_block__", "__comments__")
        }
    if isinstance(node, list):
        return [plain(each) for each in node]
    return node[1:-1] if isinstance(node, str) and node.startswith('"') else node


TEXT = {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.tf"))}
PARSED = [plain(hcl2.loads(text)) for text in TEXT.values()]


def blocks(kind):
    """Name -> content of all blocks of a kind; of resources, (type, name) -> content."""
    found = [each for file in PARSED for each in file.get(kind, [])]
    if kind == "locals":
        return {name: value for each in found for name, value in each.items()}
    if kind == "resource":
        return {
            (resource, name): content
            for each in found
            for resource, named in each.items()
            for name, content in named.items()
        }
    return {name: content for each in found for name, content in each.items()}


RESOURCES = blocks("resource")


def wrong_attributes(given, known, where=""):
    """What of a resource or block the provider does not know, or misses."""
    wrong = [f"{where}{name} is missing" for name, each in known.items()
             if each.get("required") and name not in given]  # fmt: skip
    for name, value in given.items():
        if name not in known:
            wrong.append(f"{where}{name} is unknown")
            continue
        kind = known[name]["type"]
        if kind == "block":
            if not isinstance(value, list) or (len(value) > 1 and not known[name]["many"]):
                wrong.append(f"{where}{name} is one block")
                continue
            for each in value:
                wrong += wrong_attributes(each, known[name]["block"], f"{where}{name}.")
        elif isinstance(value, str) and "${" in value:
            continue
        elif not isinstance(value, PYTHON[kind]) or (kind == "number" and isinstance(value, bool)):
            wrong.append(f"{where}{name} is a {kind}")
    return wrong


PYTHON = {"string": str, "bool": bool, "number": int | float, "list": list, "map": dict}


@pytest.mark.parametrize("place", RESOURCES, ids=".".join)
def test_the_provider_knows_all_that_is_given_and_misses_nothing(place):
    given = {name: value for name, value in RESOURCES[place].items() if name not in META}
    assert wrong_attributes(given, SCHEMA[place[0]]) == []


def test_it_would_be_told():
    bucket = copy.deepcopy(RESOURCES["google_storage_bucket", "l3flow"])
    del bucket["location"], bucket["depends_on"]
    bucket["uniform_access"] = True
    bucket["name"] = 1
    bucket["lifecycle_rule"][0]["condition"][0]["days"] = 1
    assert wrong_attributes(bucket, SCHEMA["google_storage_bucket"]) == [
        "location is missing",
        "name is a string",
        "lifecycle_rule.condition.days is unknown",
        "uniform_access is unknown",
    ]


def test_nobody_has_a_role_that_is_not_needed():
    found = set()
    for (kind, _), content in RESOURCES.items():
        if "_iam_" in kind:
            assert kind.endswith("_member"), "a binding or a policy takes roles from others"
            who = re.fullmatch(r"\$\{local\.(\w+)\}", content["member"])[1]
            found.add((who, kind, content["role"]))
    assert found == ROLES
    locals_ = blocks("locals")
    for who in ("work", "launch"):
        account = f"serviceAccount:${{google_service_account.{who}.email}}"
        assert locals_[who] == account
    broad = ("roles/owner", "roles/editor", "roles/viewer", "roles/storage.admin", ".admin", "allUsers")
    assert not [word for word in broad for text in TEXT.values() if word in text]


def test_the_api_that_gives_roles_in_a_project_is_on():
    services = TEXT["main.tf"]
    assert "cloudresourcemanager.googleapis.com" in services
    assert "logging.googleapis.com" in services


def test_what_is_named_is_declared():
    text = "\n".join(TEXT.values())
    variables, locals_ = blocks("variable"), blocks("locals")
    assert set(re.findall(r"\bvar\.(\w+)", text)) == set(variables)
    assert set(re.findall(r"\blocal\.(\w+)", text)) == set(locals_)
    named = set(re.findall(r"\b(google_\w+)\.(\w+)(?:\.(\w+))?", text))
    assert named
    for kind, name, attribute in named:
        assert (kind, name) in RESOURCES
        # these two the provider makes
        assert attribute in {"", "email", "name", *SCHEMA[kind]}


def test_variables_and_outputs_say_what_they_are():
    for name, content in blocks("variable").items():
        assert content["description"].endswith("."), name
        assert content["type"], name
        for rule in content.get("validation", []):
            assert rule["error_message"].startswith(name)
    for content in blocks("output").values():
        assert content["description"].endswith(".")


@pytest.mark.parametrize("name", VALUES)
def test_a_variable_takes_what_it_should(name):
    [rule] = blocks("variable")[name]["validation"]
    [pattern] = re.findall(r'regex\(\\?"(.*)\\?", var\.', rule["condition"])
    pattern = pattern.rstrip("\\").replace("[:space:]", r"\s")
    good, bad = VALUES[name]
    assert [value for value in good + bad if re.search(pattern, value)] == good


def test_the_bucket_is_nobody_elses_and_clears_up():
    bucket = RESOURCES["google_storage_bucket", "l3flow"]
    assert bucket["uniform_bucket_level_access"] is True
    assert bucket["public_access_prevention"] == "enforced"
    [temp, uploads] = bucket["lifecycle_rule"]
    assert temp["action"] == [{"type": "Delete"}]
    assert temp["condition"] == [{"age": "${var.temp_days}", "matches_prefix": ["temp/"]}]
    assert uploads["action"] == [{"type": "AbortIncompleteMultipartUpload"}]
    assert blocks("output")["temp_location"]["value"].endswith("/temp")


def test_the_template_is_ours():
    content = RESOURCES["google_storage_bucket_object", "template"]["content"]
    [path] = re.findall(r'file\(\\?"\$\{path\.module\}/(.*?)\\?"\)', content)
    assert (FOLDER / path).resolve() == FILE.resolve()
    # which Terraform merges the image into
    assert template.spec_of_template("") | {"image": "i"} == template.spec_of_template("i")


def test_the_scheduler_gets_all_that_schedule_writes(capsys):
    """Each path into the file is there, and each field of the file is put in place."""
    assert main(["schedule", *FLAGS, "--json", "--", *EMBED]) == 0
    written = json.loads(json.loads(capsys.readouterr().out)["files"]["nightly.json"])
    launched = json.loads(base64.b64decode(written["httpTarget"]["body"]))["launchParameter"]
    text = TEXT["scheduler.tf"] + TEXT["alerts.tf"]
    read = set(re.findall(r"local\.scheduled((?:\.\w+)+)", text))
    for path in read:
        assert reached(written, path) is not None, path
    for path in set(re.findall(r"local\.launched((?:\.\w+)+)", text)):
        assert reached(launched, path) is not None, path
    given = {f".{name}" for name, value in written.items() if not isinstance(value, dict)}
    for field in ("retryConfig", "httpTarget"):
        given |= {f".{field}.{name}" for name, value in written[field].items()}
    given = given - {".httpTarget.oauthToken"} | {".httpTarget.oauthToken.scope"}
    assert read == given


def reached(document, path):
    for name in path.strip(".").split("."):
        document = document.get(name, {})
    return document or None


def test_alerts_are_about_the_job_that_is_launched():
    failed = RESOURCES["google_monitoring_alert_policy", "failed"]["conditions"][0]
    silent = RESOURCES["google_monitoring_alert_policy", "silent"]["conditions"][0]
    words = failed["condition_threshold"][0]["filter"]
    assert "dataflow.googleapis.com/job/is_failed" in words
    query = silent["condition_prometheus_query_language"][0]["query"]
    assert "[${var.silent_hours}h]" in query
    assert blocks("variable")["silent_hours"]["default"] == 26
    for text in (words, query):
        assert "${local.launched.jobName}" in text
