"""Weights and classifiers that somebody else made: no code runs, no other file is read."""

import ast
import gzip
import io
import json
import os
import tracemalloc
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from l3core import classifier as classifiers
from l3core import labelling
from l3core.classifier import FACTS, WEIGHTS, Classifier, ClassifierError, from_keras, to_keras
from l3core.crossval.mlps import initial_tensors
from l3core.errors import WeightsError
from l3core.spec import EmbeddingSpec
from l3core.weights import load_weights, read_h5, to_h5
from tests.fake_model import FakeModel

REPOSITORY = Path(__file__).parents[2]
SPEC = EmbeddingSpec(model="edgel3-sea-64", weights="random:0")
LAYERS = SPEC.network.layer_shapes(SPEC)
SECRET = b"the secret of somebody else, at least 64 bytes of it, and then some more....."


@pytest.fixture(scope="module")
def good():
    return to_h5(load_weights(SPEC), LAYERS)


@pytest.fixture
def secret(tmp_path):
    """A file of raw bytes, and one of HDF5."""
    (tmp_path / "secret").write_bytes(SECRET * 100)
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = np.ones((3, 3), np.float32)
    return tmp_path


def first_array(file):
    """(group, name) of a weights file's first array."""
    layer = file[file.attrs["layer_names"][0]]
    group = layer.get(layer.name.strip("/"), layer)
    name = next(iter(group))
    return group, name


def replaced(content, make):
    """The file with something else in the place of its first array."""
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        group, name = first_array(file)
        shape = group[name].shape
        del group[name]
        make(file, group, name, shape)
    return buffer.getvalue()


def external_link(file, group, name, shape, secret):
    group[name] = h5py.ExternalLink(str(secret / "secret.h5"), "/x")


def soft_link(file, group, name, shape, secret):
    file["there"] = h5py.ExternalLink(str(secret / "secret.h5"), "/x")
    group[name] = h5py.SoftLink("/there")


def raw_data_elsewhere(file, group, name, shape, secret):
    size = 4 * int(np.prod(shape))
    place = [(str(secret / "secret"), 0, size)]
    group.create_dataset(name, shape, np.float32, external=place)


def virtual(file, group, name, shape, secret):
    layout = h5py.VirtualLayout(shape=shape, dtype=np.float32)
    layout[:] = h5py.VirtualSource(str(secret / "secret.h5"), "x", shape=shape)
    group.create_virtual_dataset(name, layout)


def texts(file, group, name, shape, secret):
    group.create_dataset(name, shape, h5py.string_dtype())


def huge(file, group, name, shape, secret):
    group.create_dataset(name, (2**20, 2**20), np.float32, chunks=(1, 1024))


def huge_chunk(file, group, name, shape, secret):
    chunks = (2**28, *(1 for _ in shape[1:]))
    most = (None,) * len(shape)
    group.create_dataset(name, shape, np.float64, chunks=chunks, maxshape=most, compression="gzip")


def circle(file, group, name, shape, secret):
    group[name] = group


H5_ATTACKS = {
    external_link: "is a link",
    soft_link: "is a link",
    raw_data_elsewhere: "lies in another file",
    virtual: "lies in another file",
    texts: "something else than numbers",
    huge: "claims more than",
    huge_chunk: "claims more than",
    circle: "holds itself|something else than arrays",
}


@pytest.mark.parametrize("attack", H5_ATTACKS, ids=lambda attack: attack.__name__)
def test_weights_that_lead_to_other_files_or_claim_too_much_are_refused(attack, good, secret):
    content = replaced(good, lambda *where: attack(*where, secret))
    for packed in (content, gzip.compress(content, 1)):
        with pytest.raises(WeightsError, match=H5_ATTACKS[attack]):
            read_h5(packed, LAYERS, name="w.h5")


def test_one_array_under_many_names_counts_as_often(good):
    buffer = io.BytesIO(good)
    with h5py.File(buffer, "r+") as file:
        layer = file.create_group("big")
        layer.create_dataset("k", (2**20,), np.float32, chunks=(2**10,))  # no byte of it is there
        layer.attrs["weight_names"] = [b"k"]
        file.attrs["layer_names"] = [b"big"] * 500
    with pytest.raises(WeightsError, match="claims more than"):
        read_h5(buffer.getvalue(), LAYERS, name="w.h5")


def test_a_packed_bomb_is_unpacked_to_its_limit_only(monkeypatch):
    monkeypatch.setattr("l3core.keras_files.MAX_BYTES", 2**22)
    bomb = gzip.compress(bytes(2**26), 9)
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match="unpacks to more than 4 MiB"):
            read_h5(bomb, LAYERS, name="w.h5.gz")
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["device", "pipe"])
def test_weights_that_are_no_file_are_not_waited_for(kind, tmp_path):
    path = "/dev/zero"
    if kind == "pipe":
        path = str(tmp_path / "pipe")
        os.mkfifo(path)
    with pytest.raises(WeightsError, match="no weights file"):
        load_weights(EmbeddingSpec(model="fake", engine="fake", weights=path))


@pytest.fixture(scope="module")
def model():
    """A classifier's file."""
    generator = np.random.default_rng(0)
    return to_keras(
        Classifier(
            labels=("a", "b"),
            mean=generator.normal(3, 1, 8),
            scale=generator.uniform(0.1, 9, 8),
            tensors=initial_tensors(8, 2, generator),
            facts={"fingerprint": "s0"},
        )
    )


def repacked(content, changes, compression=zipfile.ZIP_DEFLATED):
    """A .keras file with other members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", compression) as new:
        members = {name: old.read(name) for name in old.namelist()} | changes
        for name, member in members.items():
            new.writestr(name, member)
    return buffer.getvalue()


def member(content, name):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(name)


@keras.saving.register_keras_serializable(package="evil")
class Registered(keras.layers.Layer):
    """A layer that leaves a trace where it is made."""

    made = 0

    def __init__(self, **kwargs):
        Registered.made += 1
        super().__init__(**kwargs)


def saved(tmp_path, layer):
    """config.json of a model of Keras with such a layer."""
    built = keras.Sequential([keras.layers.Input((8,)), layer, keras.layers.Dense(2)])
    built.save(tmp_path / "evil.keras")
    return member((tmp_path / "evil.keras").read_bytes(), "config.json")


@pytest.mark.parametrize("kind", ["lambda", "registered"])
def test_a_keras_file_with_code_in_its_description_runs_none_of_it(kind, model, tmp_path):
    trace = tmp_path / "trace"
    layer = Registered()
    if kind == "lambda":
        # Keras packs the bytecode of such a function into config.json
        path = str(trace)
        layer = keras.layers.Lambda(lambda x: (__import__("pathlib").Path(path).touch(), x)[1])
    config = saved(tmp_path, layer)
    trace.unlink(missing_ok=True)
    Registered.made = 0
    content = repacked(model, {"config.json": config})
    found = from_keras(content, name="m.keras")
    expected = from_keras(model, name="m.keras")
    np.testing.assert_array_equal(found.tensors[0], expected.tensors[0])
    assert not trace.exists()
    assert Registered.made == 0


def test_an_archive_whose_members_lead_out_of_it_puts_nothing_anywhere(model, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    evil = {"../evil": b"x", "/abs-evil": b"x", "../../../../../../tmp/l3flow-evil": b"x"}
    found = from_keras(repacked(model, evil), name="m.keras")
    assert found.labels == ("a", "b")
    assert list(tmp_path.iterdir()) == []
    assert not Path("/abs-evil").exists()
    assert not Path("/tmp/l3flow-evil").exists()


@pytest.mark.parametrize("name", [FACTS, WEIGHTS])
def test_an_archive_that_unpacks_to_too_much_is_refused_before_it_is(name, model, monkeypatch):
    limit = {FACTS: "MAX_FACTS_BYTES", WEIGHTS: "MAX_BYTES"}[name]
    monkeypatch.setattr(classifiers, limit, 2**22)
    bomb = repacked(model, {name: bytes(2**26)})
    tracemalloc.start()
    try:
        with pytest.raises(ClassifierError, match="holds more than any classifier"):
            from_keras(bomb, name="m.keras")
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def lying(content, size):
    """The archive with another size of its largest member in both of its headers."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        found = archive.getinfo(FACTS)
    old = found.file_size.to_bytes(4, "little")
    at = found.compress_size.to_bytes(4, "little") + old
    return content.replace(at, at[:4] + size.to_bytes(4, "little"))


@pytest.mark.parametrize(
    "make",
    [
        lambda model: lying(repacked(model, {FACTS: b" " * 2**24}), 100),
        lambda model: repacked(model, {FACTS: b"[" * 100_000}),
        lambda model: repacked(model, {FACTS: b"\xff\xfe"}),
        lambda model: repacked(model, {WEIGHTS: b""}),
        lambda model: model[: len(model) // 2],
    ],
    ids=["lying size", "nested", "no text", "no weights", "cut"],
)
def test_a_keras_file_that_lies_is_refused_in_our_words(make, model):
    with pytest.raises(ClassifierError, match=r"^m\.keras"):
        from_keras(make(model), name="m.keras")


@pytest.mark.parametrize("facts", [{"size": 2**18}, {"labels": [str(n) for n in range(10_001)]}])
def test_a_keras_file_that_claims_a_huge_network_has_none_built(facts, model, monkeypatch):
    monkeypatch.setattr(classifiers, "build_keras_model", lambda *_: pytest.fail("it was built"))
    content = repacked(model, {FACTS: json.dumps({"labels": ["a", "b"], "size": 8} | facts)})
    with pytest.raises(ClassifierError, match="nothing sensible"):
        from_keras(content, name="m.keras")


KERAS_ATTACKS = [attack for attack in H5_ATTACKS if attack is not huge_chunk]


@pytest.mark.parametrize("attack", KERAS_ATTACKS, ids=lambda attack: attack.__name__)
def test_weights_in_a_keras_file_that_lead_elsewhere_are_refused(attack, model, secret):
    buffer = io.BytesIO(member(model, WEIGHTS))
    with h5py.File(buffer, "r+") as file:
        group = file["layers/dense/vars"] if "layers/dense" in file else None
        if group is None:
            places = []
            file.visititems(lambda n, o: places.append(o) if isinstance(o, h5py.Dataset) else None)
            group = max(places, key=lambda each: each.size).parent
        shape = group["0"].shape
        del group["0"]
        attack(file, group, "0", shape, secret)
    content = repacked(model, {WEIGHTS: buffer.getvalue()})
    with pytest.raises(ClassifierError, match=H5_ATTACKS[attack]):
        from_keras(content, name="m.keras")


def test_a_classifier_cannot_make_this_machine_ask_a_web_server(web_running, monkeypatch):
    asked = []
    monkeypatch.setattr(labelling, "load_weights", lambda spec: asked.append(spec.weights))
    spec = EmbeddingSpec(model=FakeModel.name, engine="fake", weights="http://127.0.0.1:9/w.h5")
    found = Classifier(
        labels=("a", "b"),
        mean=np.zeros(8),
        scale=np.ones(8),
        tensors=(),
        facts={
            "fingerprint": "s0",
            "embedding": {"spec": spec.to_dict(), "weights": "http://127.0.0.1:9/x.h5"},
        },
    )
    with pytest.raises(ClassifierError, match="their weights are neither"):
        labelling.embedder_of(found, name="m.keras")
    assert asked == []


BY_VALUE = {"pickle", "cPickle", "joblib", "marshal", "dill", "cloudpickle", "shelve"}


def loads_code(node):
    """Names of what in a piece of source turns bytes into code."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names} & BY_VALUE
    if isinstance(node, ast.ImportFrom):
        return {(node.module or "").partition(".")[0]} & BY_VALUE
    if isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        words = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        bad = {
            "allow_pickle": words.get("allow_pickle", "False") != "False",
            "yaml.load": called in ("yaml.load", "yaml.unsafe_load", "yaml.full_load"),
            "eval": called in ("eval", "exec"),
            "load_model": called.endswith("load_model") or words.get("safe_mode") == "False",
            "np.load": called in ("np.load", "numpy.load") and words.get("allow_pickle") != "False",
            "shell": words.get("shell", "False") != "False" or called == "os.system",
        }
        return {name for name, found in bad.items() if found}
    return set()


@pytest.mark.parametrize(
    "source",
    [
        *(
            "import pickle",
            "from joblib import load",
            "import dill as d",
            "np.load(f, allow_pickle=True)",
        ),
        *("yaml.load(f)", "eval(x)", "keras.saving.load_model(p)", "os.system(x)", "run(x, shell=True)"),
    ],
)
def test_the_search_for_what_loads_code_finds_it(source):
    assert set().union(*map(loads_code, ast.walk(ast.parse(source))))


def test_no_module_loads_code_from_files():
    found = {"launch/notice.py": {"shell"}}  # --on-failure runs what its user wrote, as it is
    for room in ("l3core", "pipelines", "launch"):
        for path in sorted((REPOSITORY / room).rglob("*.py")):
            names = set().union(*map(loads_code, ast.walk(ast.parse(path.read_text()))))
            assert found.pop(path.relative_to(REPOSITORY).as_posix(), set()) == names, path
    assert found == {}
