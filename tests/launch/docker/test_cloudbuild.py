"""cloudbuild.yaml is what Cloud Build takes; what it makes is what --sdk-container-image takes."""

import platform
import re
from importlib.metadata import version

import jsonschema
import pytest
import yaml

from l3core.errors import UsageError
from launch.beam_options import parse_with_beam
from launch.dataflow.options import checked
from launch.embed import build_parser
from tests import image
from tests.discovery import changed, schema

TEXT = (image.REPOSITORY / "launch/docker/cloudbuild.yaml").read_text(encoding="utf-8")
BUILD = yaml.safe_load(TEXT)
RULES = schema("cloudbuild")
# cloud.google.com/build/docs/configuring-builds/substitute-variable-values
BUILT_IN = {"PROJECT_ID", "PROJECT_NUMBER", "LOCATION", "BUILD_ID"}


def errors_of(document):
    return [error.message for error in jsonschema.Draft7Validator(RULES).iter_errors(document)]


def used(node):
    """The substitutions that a document refers to."""
    return set(re.findall(r"\$\{?([A-Z_][A-Z0-9_]*)", yaml.safe_dump(node)))


def filled(text, values):
    """A text with its substitutions done, those within others, too."""
    while found := re.search(r"\$\{(\w+)\}", text):
        text = text.replace(found[0], values[found[1]])
    return text


def substitution_faults(build):
    """Cloud Build refuses a build that names what it does not have, or has what it does not name."""
    own = set(build["substitutions"])
    names = used(build["steps"]) | used(build["images"]) | used(build["substitutions"])
    nested = any("$" in value for value in build["substitutions"].values())
    wrong = {
        "no name of one": {name for name in own if not re.fullmatch(r"_[A-Z0-9_]+", name)},
        "not defined": names - own - BUILT_IN,
        "not used": own - names,
        "not done": nested and not build["options"].get("dynamicSubstitutions"),
    }
    return {fault for fault, there in wrong.items() if there}


def step(name):
    return next(each for each in BUILD["steps"] if each["id"] == name)


def values_of(arguments, flag):
    return [each.removeprefix(f"{flag}=") for each in arguments if each.startswith(f"{flag}=")]


def test_cloud_build_takes_it():
    jsonschema.Draft7Validator.check_schema(RULES)
    assert errors_of(BUILD) == []
    assert BUILD.keys() <= RULES["properties"].keys()


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (["steps", 0, "arg"], [], "'arg'"),
        (["steps", 0, "name"], 1, "1 is not of type 'string'"),
        (["steps", 0, "env"], {"A": "b"}, "is not of type 'array'"),
        (["options", "logging"], "EVERYWHERE", "'EVERYWHERE'"),
        (["options", "machine"], "x", "'machine'"),
        (["substitutions", "_TAG"], 0.1, "0.1 is not of type 'string'"),
        (["timeout"], "1h", "'1h'"),
    ],
)
def test_it_refuses_what_is_misspelt_or_of_another_type(path, value, says):
    errors = errors_of(changed(BUILD, path, value))
    assert errors
    assert all(says in error for error in errors)


def test_substitutions_are_defined_and_used():
    assert substitution_faults(BUILD) == set()


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        (["substitutions", "_EXTRA"], "x", "not used"),
        (["steps", 0, "name"], "${_BUILDER}", "not defined"),
        (["options", "dynamicSubstitutions"], False, "not done"),
    ],
)
def test_a_substitution_that_is_wrong_is_noticed(path, value, fault):
    assert substitution_faults(changed(BUILD, path, value)) == {fault}


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_an_image_is_built_looked_at_and_then_pushed(device):
    built, looked_at = step(device), step(f"doctor-{device}")
    arguments = built["args"]
    assert (arguments[0], arguments[-1], built["env"]) == ("build", ".", ["DOCKER_BUILDKIT=1"])
    assert values_of(arguments, "--file") == ["launch/docker/Dockerfile"]
    tags = values_of(arguments, "--tag")
    assert f"--build-arg=DEVICE={device}" in arguments
    assert tags == [f"${{_IMAGE}}:${{_TAG}}-{device}", f"${{_IMAGE}}:cache-{device}"]
    assert set(tags) <= set(BUILD["images"])  # pushed when all steps have done well
    assert values_of(arguments, "--cache-from") == [tags[1]]
    assert "--build-arg=BUILDKIT_INLINE_CACHE=1" in arguments
    assert looked_at["args"] == ["run", "--rm", tags[0], "l3flow", "doctor"]
    assert BUILD["steps"].index(built) < BUILD["steps"].index(looked_at)


def test_nothing_else_is_pushed_and_all_arguments_are_the_dockerfiles():
    built = [each for each in BUILD["steps"] if each["args"][0] == "build"]
    assert len(BUILD["images"]) == 2 * len(built) == 4
    dockerfile = image.instructions(image.DOCKERFILE.read_text(encoding="utf-8"))
    known = {value.partition("=")[0] for name, value in dockerfile if name == "ARG"}
    for each in built:
        given = {value.partition("=")[0] for value in values_of(each["args"], "--build-arg")}
        assert given - known == {"BUILDKIT_INLINE_CACHE"}
        assert {"DEVICE", "WORKER_USER"} <= given


def checked_image(name):
    words = ["--input", "gs://birds/in", "--output", "gs://birds/out", "--runner", "dataflow"]
    words += ["--project", "my-project", "--region", "us-central1", "--temp-location", "gs://birds/temp"]
    args, beam = parse_with_beam(build_parser("l3flow embed"), [*words, "--sdk-container-image", name])
    return checked(args, beam, {"--output": args.output}).workers.image


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_its_name_says_which_beam_and_python_it_has(device, monkeypatch):
    monkeypatch.setattr(platform, "python_version_tuple", lambda: ("3", "11", "9"))
    values = BUILD["substitutions"] | {"PROJECT_ID": "my-project"}
    name = filled(f"${{_IMAGE}}:${{_TAG}}-{device}", values)
    here = f"{version('l3flow')}-beam{'.'.join(version('apache-beam').split('.')[:2])}-py3.11"
    assert name == f"us-central1-docker.pkg.dev/my-project/l3flow/l3flow:{here}-{device}"
    assert checked_image(name) == name
    for wrong, says in (("beam2.70", "has Beam 2.70"), ("py3.12", "has Python 3.12")):
        with pytest.raises(UsageError, match=says):
            checked_image(re.sub(wrong[:-2] + r"\d\d", wrong, name))


def test_the_page_and_the_dockerfile_name_the_same_tag():
    tag = f"l3flow:{BUILD['substitutions']['_TAG']}-gpu"
    page = (image.REPOSITORY / "docs/image.md").read_text(encoding="utf-8")
    for text in (image.DOCKERFILE.read_text(encoding="utf-8"), page):
        assert f"-t {tag} ." in text
        assert set(re.findall(r"l3flow:[^\s`]*-gpu", text)) == {tag}


def test_the_page_has_the_substitutions_and_the_numbers_of_the_locks():
    page = (image.REPOSITORY / "docs/image.md").read_text(encoding="utf-8")
    for name in BUILD["substitutions"].keys() - {"_IMAGE"}:
        assert f"`{name}`" in page
        assert f"{BUILD['substitutions'][name]}" in page
    for path, layer in (
        ("requirements.lock", "`requirements.lock`"),
        ("launch/docker/cuda.lock", "GPU only"),
    ):
        wheels = len(re.findall(r"^\S+==", (image.REPOSITORY / path).read_text(), re.MULTILINE))
        assert re.search(rf"^\| .*{layer}.* \| {wheels} wheels, ", page, re.MULTILINE)
