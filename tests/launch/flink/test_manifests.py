"""compose.yaml and kubernetes.yaml are what their readers take, and say the same as the rest."""

import re
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
import yaml

from launch.flink.configuration import CONFIGURATION
from launch.flink.jars import INSTALLED_MINOR, POM
from launch.flink.session import Session
from tests.discovery import changed, schema

REPO = Path(__file__).parents[3]
PLACE = REPO / "launch/flink"
DOCKERFILE = (PLACE / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((PLACE / "compose.yaml").read_text(encoding="utf-8"))
KUBERNETES, POLICY = yaml.safe_load_all((PLACE / "kubernetes.yaml").read_text(encoding="utf-8"))
RESTARTS = {key: CONFIGURATION[key] for key in CONFIGURATION if key.startswith("restart-strategy")}


def closed(node):
    """A schema of Kubernetes as JSON Schema has it: what it does not know is refused."""
    if isinstance(node, list):
        return [closed(each) for each in node]
    if not isinstance(node, dict):
        return node
    found = {key: closed(value) for key, value in node.items() if not key.startswith("x-kubernetes-")}
    if isinstance(node.get("properties"), dict) and not node.get("x-kubernetes-preserve-unknown-fields"):
        found.setdefault("additionalProperties", False)
    if node.get("x-kubernetes-int-or-string"):
        found["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    return found


COMPOSE_SCHEMA = schema("compose")
# the rest of the document is Kubernetes' own
DEPLOYMENT_SCHEMA = closed(schema("flinkdeployment")["properties"]["spec"])


def errors_of(document, rules):
    return [error.message for error in jsonschema.Draft7Validator(rules).iter_errors(document)]


def flink_properties():
    lines = {
        name: service["environment"]["FLINK_PROPERTIES"] for name, service in COMPOSE["services"].items()
    }
    assert len(set(lines.values())) == 1  # JobManager and TaskManagers are told the same
    return yaml.safe_load(next(iter(lines.values())))


def as_text(properties):
    return {key: str(value) for key, value in properties.items()}


def test_the_schemas_are_schemas():
    for rules in (COMPOSE_SCHEMA, DEPLOYMENT_SCHEMA):
        jsonschema.Draft7Validator.check_schema(rules)


def test_compose_takes_its_manifest():
    assert errors_of(COMPOSE, COMPOSE_SCHEMA) == []


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (["servces"], {}, "'servces'"),
        (["services", "taskmanager", "imge"], "x", "'imge' does not match"),
        (["services", "taskmanager", "image"], 1.19, "1.19 is not of type 'string'"),
        (["services", "taskmanager", "depends_on", "jobmanager", "condition"], "well", "'well'"),
        (["services", "jobmanager", "healthcheck", "test"], {}, "{}"),
    ],
)
def test_compose_refuses_what_is_misspelt_or_of_another_type(path, value, says):
    errors = errors_of(changed(COMPOSE, path, value), COMPOSE_SCHEMA)
    assert [error for error in errors if says in error] == errors != []


def test_the_operator_takes_the_deployment():
    assert errors_of(KUBERNETES["spec"], DEPLOYMENT_SCHEMA) == []
    assert (KUBERNETES["apiVersion"], KUBERNETES["kind"]) == (
        "flink.apache.org/v1beta1",
        "FlinkDeployment",
    )
    assert set(KUBERNETES) == {"apiVersion", "kind", "metadata", "spec"}


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (["flinkVersion"], "v1_99", "'v1_99' is not one of"),
        (["flinkConfig"], {}, "'flinkConfig' was unexpected"),
        (["taskManager", "replica"], 2, "'replica' was unexpected"),
        (["taskManager", "replicas"], "2", "'2' is not of type 'integer'"),
        (["taskManager", "resource", "memory"], 8192, "8192 is not of type 'string'"),
        (["taskManager", "podTemplate", "spec", "container"], [], "'container' was unexpected"),
        (
            ["taskManager", "podTemplate", "spec", "tolerations", 0, "keys"],
            "x",
            "'keys' was unexpected",
        ),
        (
            ["taskManager", "podTemplate", "spec", "containers", 0, "resources", "limits", "cpu"],
            1.5,
            "1.5 is not valid",
        ),
    ],
)
def test_the_operator_refuses_what_is_misspelt_or_of_another_type(path, value, says):
    errors = errors_of(changed(KUBERNETES["spec"], path, value), DEPLOYMENT_SCHEMA)
    assert [error for error in errors if says in error] == errors != []


@pytest.mark.parametrize(
    "properties",
    [flink_properties(), KUBERNETES["spec"]["flinkConfiguration"]],
    ids=["compose", "kubernetes"],
)
def test_clusters_restart_jobs_and_have_slots_as_the_one_on_this_machine(properties):
    told = as_text(properties)
    assert {key: told.get(key) for key in RESTARTS} == RESTARTS != {}
    assert told["taskmanager.numberOfTaskSlots"] == str(Session(folder=Path("any")).slots)


def test_settings_of_the_operator_are_texts():
    """As older operators, whose CRD says so, need them."""
    assert {type(each) for each in KUBERNETES["spec"]["flinkConfiguration"].values()} == {str}


def test_one_image_is_built_and_used():
    used = {service["image"] for service in COMPOSE["services"].values()}
    assert used == {KUBERNETES["spec"]["image"]} == {f"l3flow-flink:{INSTALLED_MINOR}"}
    for name in ("Dockerfile", "compose.yaml", "kubernetes.yaml"):
        text = (PLACE / name).read_text(encoding="utf-8")
        built = re.findall(r"docker build -f launch/flink/Dockerfile -t (?:REGISTRY/)?(\S+) ", text)
        assert set(built) == used, name


def test_one_version_of_flink_is_everywhere():
    space = "{http://maven.apache.org/POM/4.0.0}"
    pom = ElementTree.parse(POM).findtext(f"{space}properties/{space}flink.minor")
    image = re.search(r"^FROM flink:([\d.]+)-java17$", DOCKERFILE, re.MULTILINE)
    deployed = KUBERNETES["spec"]["flinkVersion"].removeprefix("v").replace("_", ".")
    assert {pom, image[1], deployed} == {INSTALLED_MINOR}


def test_the_image_has_the_tensorflow_of_the_package():
    package = re.search(r'"tensorflow(\S+)"', (REPO / "setup.py").read_text(encoding="utf-8"))
    image = re.search(r"'tensorflow\[and-cuda\](\S+)'", DOCKERFILE)
    assert image[1] == package[1]


def test_the_image_copies_what_the_package_is_made_of():
    packages = set(re.findall(r'^        "(\w+)[".]', (REPO / "setup.py").read_text(), re.MULTILINE))
    copied = set(re.findall(r"^COPY (\w+) /opt/l3flow/", DOCKERFILE, re.MULTILINE))
    assert copied == packages & {path.name for path in REPO.iterdir() if path.is_dir()}
