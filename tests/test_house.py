"""The house of the design: who may import whom, and what a command must not pay for."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
ROOMS = ("l3core", "pipelines", "launch")
FORBIDDEN = {
    "l3core": {"pipelines", "launch", "apache_beam", "argparse", "tests", "examples"},
    "pipelines": {"launch", "argparse", "tests", "examples"},
    "launch": {"tests", "examples"},
}
# fsspec finds the clients of stores by itself
CLOUD = {"google", "boto3", "botocore", "aiobotocore", "gcsfs", "s3fs", "adlfs", "azure", "minio"}
COMPUTING = {"tensorflow", "keras", "kapre", "openvino", "librosa"}
ENGINES = {
    "l3core/engines/tensorflow.py",
    "l3core/engines/tensorflow_dense.py",
    "l3core/engines/tensorflow_tuning.py",
    "l3core/engines/openvino_graph.py",
}
TRAINING = {
    "l3core/crossval/mlps.py",
    "l3core/training/devices.py",
    "l3core/training/events.py",
    "l3core/training/feed.py",
    "l3core/training/step.py",
}


def sources(*rooms):
    return sorted(path for room in rooms for path in (REPOSITORY / room).rglob("*.py"))


def imports(node):
    """Names of the packages that an import statement loads, else none."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        return {node.module.partition(".")[0]}
    if isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__"):
        return {arg.value.partition(".")[0] for arg in node.args[:1] if isinstance(arg, ast.Constant)}
    return set()


def _called(call):
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def all_imports(path):
    return {name for node in ast.walk(ast.parse(path.read_text())) for name in imports(node)}


def imports_when_loaded(tree):
    """Packages that are imported as soon as the module is: not in functions, not for type checking."""
    found = set()
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        found |= imports(node)
        waiting += ast.iter_child_nodes(node)
    return found


def test_the_walk_sees_imports():
    tree = ast.parse(
        "import a.b as c\nfrom d.e import f\nif TYPE_CHECKING:\n import g\nelse:\n import h\n"
        "try:\n import i\nexcept E:\n pass\ndef x():\n import j\nclass Y:\n import k\n"
        "import_module('l.m')\nfrom . import n\n"
    )
    assert imports_when_loaded(tree) == {"a", "d", "h", "i", "k", "l"}
    assert {name for node in ast.walk(tree) for name in imports(node)} == set("adghijkl")


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_point_only_to_the_right(room):
    paths = sources(room)
    assert paths
    wrong = {str(path): all_imports(path) & FORBIDDEN[room] for path in paths}
    assert {path: names for path, names in wrong.items() if names} == {}


def test_only_fsspec_talks_to_stores():
    wrong = {str(path): all_imports(path) & CLOUD for path in sources("l3core", "pipelines")}
    assert {path: names for path, names in wrong.items() if names} == {}


def test_what_computes_is_loaded_where_it_computes_only():
    found = {
        path.relative_to(REPOSITORY).as_posix(): names
        for path in sources(*ROOMS)
        if (names := imports_when_loaded(ast.parse(path.read_text())) & COMPUTING)
    }
    assert set(found) == ENGINES | TRAINING


def test_beam_is_loaded_by_pipelines_only():
    """In launch it is imported by functions: a command that needs no Beam must not pay for it."""
    paths = sources("l3core", "launch")
    found = [p for p in paths if "apache_beam" in imports_when_loaded(ast.parse(p.read_text()))]
    assert found == []


def test_nothing_that_a_worker_runs_is_defined_in_main():
    """Beam pickles what is in `__main__` by value: workers would run something else than is here."""
    for path in sources("l3core", "pipelines"):
        assert path.name != "__main__.py"
        assert "__main__" not in path.read_text(), path


@pytest.mark.parametrize(
    "command",
    [
        *([], ["embed"], ["crossval"], ["classify"], ["similar"], ["study"], ["weights"]),
        *(["avc", action] for action in ("toy", "subset", "fetch", "sample", "train")),
    ],
)
def test_help_loads_neither_tensorflow_nor_beam(command):
    result = subprocess.run(
        [
            sys.executable,
            "-X",
            "importtime",
            "-c",
            "from launch.main import run; run()",
            *command,
            "--help",
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "examples:" in result.stdout
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in result.stderr.splitlines()}
    assert "launch" in loaded  # we read the report right
    assert loaded & (COMPUTING | {"apache_beam", "pandas", "duckdb", "rich"}) == set()


def test_planning_loads_neither_tensorflow_nor_beam():
    """What a launcher needs to plan and to commit, and what submits a job to another machine."""
    modules = "l3core.table.plan, l3core.table.commit, l3core.table.read, l3core.listing, pipelines.job"
    result = subprocess.run(
        [sys.executable, "-c", f"import sys, {modules}; print(*sys.modules)"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.partition(".")[0] for name in result.stdout.split()}
    assert {"l3core", "pyarrow"} <= loaded
    assert loaded & (COMPUTING | {"apache_beam"}) == set()
