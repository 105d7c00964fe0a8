"""Flex Templates on this machine: the part of the API that launches them, and Google's launcher.

Google's launcher is no public code. What it calls a program with is put together from the options of
jobs that it has made (`templateLocation` in the mock of Dataflow of
GoogleCloudPlatform/k8s-config-connector: .../template_launches/JOB/job_object), the options that must be
left alone to it (docs.cloud.google.com/dataflow/docs/guides/troubleshoot-templates, March 2026: runner,
project, job_name, template_location, region), and Beam's names for the fields of an environment.
"""

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import fsspec
import jsonschema

from l3core import storage
from launch.dataflow import launcher
from tests.dataflow_api import DataflowApi, problem
from tests.discovery import closed, schema

REPOSITORY = Path(__file__).parents[1]
SCHEMA = schema("flextemplates")
REQUEST = closed(SCHEMA) | {"$ref": "#/$defs/LaunchFlexTemplateRequest"}
SPEC = closed(SCHEMA) | {"$ref": "#/$defs/ContainerSpec"}
LAUNCH = re.compile(
    r"/v1b3/projects/(?P<project>[^/]+)/locations/(?P<region>[^/]+)/flexTemplates:launch"
)
OPTIONS = {
    "diskSizeGb": "disk_size_gb",
    "kmsKeyName": "dataflow_kms_key",
    "machineType": "machine_type",
    "maxWorkers": "max_num_workers",
    "network": "network",
    "sdkContainerImage": "sdk_container_image",
    "serviceAccountEmail": "service_account_email",
    "stagingLocation": "staging_location",
    "subnetwork": "subnetwork",
    "tempLocation": "temp_location",
    "workerRegion": "worker_region",
    "workerZone": "worker_zone",
}
ENDED = ("JOB_STATE_DONE", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED")


def errors_of(document, rules):
    return [error.message for error in jsonschema.Draft202012Validator(rules).iter_errors(document)]


def arguments(launch, project, region, job_id):
    """What Google's launcher calls the program with."""
    environment = launch["environment"]
    told = dict(launch["parameters"])
    told |= {"runner": "DataflowRunner", "project": project, "region": region}
    told["job_name"] = launch["jobName"]
    told["template_location"] = f"{environment['stagingLocation']}/template_launches/{job_id}/job_object"
    told |= {OPTIONS[name]: str(value) for name, value in environment.items() if name in OPTIONS}
    if labels := environment.get("additionalUserLabels"):
        told["labels"] = json.dumps(labels)
    found = [f"--{name}={value}" for name, value in told.items()]
    found += [f"--{each}" for each in environment.get("additionalPipelineOptions", ())]
    if experiments := environment.get("additionalExperiments"):
        found.append(f"--experiments={','.join(experiments)}")
    if environment.get("ipConfiguration") == "WORKER_IP_PRIVATE":
        found.append("--no_use_public_ips")
    return sorted(found)


def launched(argv, folder, **more):
    """The launcher's program as a process that knows the fake model, without Google's credentials."""
    site = Path(folder) / "site"
    site.mkdir(exist_ok=True)
    # Beam would look for credentials for half a minute, as a machine of Google's has them at once
    (site / "sitecustomize.py").write_text(
        "from apache_beam.internal.gcp import auth\nfrom tests import fake_model\n"
        "fake_model.register()\nauth._Credentials._credentials_init = True\n"
    )
    return subprocess.run(
        [sys.executable, launcher.__file__, *argv],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{REPOSITORY}{os.pathsep}{site}"} | more,
        capture_output=True,
        text=True,
        timeout=250,
    )


class FlexApi(DataflowApi):
    """The API with the launching of templates besides.

    Attributes: `folder` that the launcher works in; `requests`; `launches`, id -> the ended process;
    `work`, id -> the job that it has written.
    """

    def __init__(self, folder):
        super().__init__()
        self.folder, self.requests, self.launches, self.work = folder, [], {}, {}
        self._launching = []

    def answer(self, method, path, body):
        """Status and content."""
        match = LAUNCH.fullmatch(urlsplit(path).path)
        if match is None or method != "POST":
            return super().answer(method, path, body)
        self.log.append(f"{method} {path}")
        return self._launch(body, match["project"], match["region"])

    def finish(self):
        """Wait until all launches have ended."""
        for thread in self._launching:
            thread.join()

    def _launch(self, body, project, region):
        self.requests.append(body)
        if self.refusal:
            return self.refusal
        if wrong := errors_of(body, REQUEST):
            return problem(400, "INVALID_ARGUMENT", f"Invalid JSON payload received. {wrong}")
        launch = body["launchParameter"]
        with fsspec.open(launch["containerSpecGcsPath"]) as file:
            spec = json.load(file)
        assert errors_of(spec, SPEC) == []
        if wrong := wrong_parameters(launch["parameters"], spec["metadata"]["parameters"]):
            message = f"The template parameters are invalid. Details: {wrong}"
            return problem(400, "INVALID_ARGUMENT", message)
        name = launch["jobName"]
        if any(job["name"] == name and job["currentState"] not in ENDED for job in self.jobs.values()):
            message = f"There is already an active job named {name}"
            return problem(409, "ALREADY_EXISTS", message)
        if body.get("validateOnly"):
            return 200, {}
        job = self.add_job(f"2026-11-26_00_00_{len(self.jobs):02}-17", name, state="JOB_STATE_QUEUED")
        argv = arguments(launch, project, region, job["id"])
        self._launching.append(threading.Thread(target=self._work, args=(job, argv)))
        self._launching[-1].start()
        return 200, {"job": dict(job)}

    def _work(self, job, argv):
        ended = self.launches[job["id"]] = launched(argv, self.folder)
        [written] = [each.partition("=")[2] for each in argv if each.startswith("--template_location")]
        if ended.returncode or not storage.is_object(written):
            job["currentState"] = "JOB_STATE_FAILED"
            text = "Error occurred in the launcher container: Template launch failed."
            self.messages[job["id"]].append({"messageText": text})
            return
        self.work[job["id"]] = json.loads(storage.read_bytes(written))
        job["currentState"] = "JOB_STATE_RUNNING"


def wrong_parameters(given, known):
    """What is wrong with the parameters of a launch, by the metadata of its template."""
    rules = {each["name"]: each for each in known}
    wrong = [f"{name}: Unrecognized parameter" for name in given if name not in rules]
    wrong += [f"{name}: Missing required parameter" for name, each in rules.items()
              if not each["isOptional"] and name not in given]  # fmt: skip
    for name, text in given.items():
        for regex in rules.get(name, {}).get("regexes", ()):
            if not re.search(regex, text):
                wrong.append(f"{name}: Parameter didn't match regex '{regex}'")
    return "; ".join(wrong)
