"""What bench says of a GPU: its arithmetic, with a CPU in its place, and that there is none."""

import json
import os
from dataclasses import replace

import keras
import numpy as np
import pytest

from l3core.spec import EmbeddingSpec
from launch.benchmarks import trunk
from launch.benchmarks.gpu import device_figures, peak_of, watching_utilisation
from launch.benchmarks.model import L3_GFLOP
from launch.benchmarks.trunk import WAYS, chosen_ways, flop_a_window, network_of
from launch.main import main

EDGE = EmbeddingSpec(model="edgel3-sea-64", hop_s=0.5)


def test_without_a_gpu_it_is_one_line(capsys):
    assert main(["bench", "--device", "gpu"]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("l3flow: there is no GPU here that tensorflow can compute on: l3flow doctor")
    assert error.count("\n") == 1


# (3x3 kernels, "same") rows * columns * in * out * 9 products and as many sums, by hand for edgel3:
# 64 x 50 (1*32 + 32*32), 32 x 25 (32*64 + 64*64), 16 x 12 (64*128 + 128*128), 8 x 6 (128*64 + 64*64)
EDGE_PRODUCTS = 9 * (3200 * 1056 + 800 * 6144 + 192 * 24576 + 48 * 12288)


def test_operations_of_a_window():
    assert flop_a_window(network_of(EDGE)) == 2 * EDGE_PRODUCTS
    for representation, gflop in L3_GFLOP.items():
        spec = EmbeddingSpec(weights="random:0", input_repr=representation)
        assert flop_a_window(network_of(spec)) / 1e9 == pytest.approx(gflop, rel=0.02)


@pytest.mark.parametrize(
    ("name", "precision", "tflops"),
    [
        ("Tesla T4", "float32", 8.1),
        ("Tesla T4", "mixed_float16", 65),
        ("Tesla T4", "mixed_bfloat16", None),
        ("NVIDIA L4", "mixed_bfloat16", 121),
        ("NVIDIA L40S", "float32", None),
        ("NVIDIA A100-SXM4-40GB", "mixed_float16", 312),
        ("NVIDIA H100 80GB HBM3", "float32", 67),
        ("NVIDIA H100 PCIe", "float32", None),
    ],
)
def test_peaks_by_the_names_of_drivers(name, precision, tflops):
    peak = peak_of(name, precision)
    assert (peak.tflops if peak else None) == tflops


def test_share_of_the_peak_and_utilisation(tmp_path, monkeypatch):
    smi = tmp_path / "nvidia-smi"  # prints what the real one does, and goes on as it would
    smi.write_text("#!/bin/sh\necho 0\necho 40\necho '[N/A]'\necho 60\nexec sleep 60\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    spec = replace(EDGE, precision="mixed_float16")
    policy = keras.config.dtype_policy().name
    found = list(device_figures(spec, 1.0, name="Tesla T4", watching=watching_utilisation))
    assert keras.config.dtype_policy().name == policy
    speed, audio, tflops, share, utilisation = (figure.value for figure in found)
    assert [figure.unit for figure in found] == ["windows/s", "hours/hour", "TFLOP/s", "%", "%"]
    assert speed > 0
    assert audio == pytest.approx(speed * 0.5)
    assert tflops == pytest.approx(speed * 2 * EDGE_PRODUCTS / 1e12)
    assert share == pytest.approx(100 * tflops / 65)
    assert utilisation == 50
    assert "batches of 16, no XLA" in found[0].note


def test_a_device_that_is_not_known_has_no_share(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = list(device_figures(EDGE, 0.1, name="CPU", watching=watching_utilisation))
    assert [figure.unit for figure in found] == ["windows/s", "hours/hour", "TFLOP/s"]


def test_the_trunk_under_the_backend_that_is_named(capsys, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr(trunk, "TURNS", 1)
    flags = ("--model", "edgel3-sea-64", "--seconds", "0.1", "--json")
    assert main(["bench", "trunk", *flags]) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert [(figure["name"], figure["unit"]) for figure in figures] == [
        ("trunk, JAX", "windows/s"),
        ("trunk, JAX", "GFLOP/s"),
    ]
    speed, gflops = (figure["value"] for figure in figures)
    assert gflops == pytest.approx(speed * 2 * EDGE_PRODUCTS / 1e9)
    assert figures[0]["note"].endswith("batches of 16, CPU")


def test_ways_are_those_of_backends_that_are_there(capsys, monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    assert chosen_ways() == ["tensorflow", "xla", "jax"]
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert main(["bench", "trunk"]) == 2
    assert "KERAS_BACKEND is torch" in capsys.readouterr().err


@pytest.mark.parametrize("way", ["tensorflow", "xla"])
def test_ways_compute_the_networks_numbers(way):
    network = network_of(EDGE)
    maps = np.random.default_rng(0).uniform(-80, 0, (2, *network.input_shape[1:])).astype(np.float32)
    compute, device = WAYS[way].prepare(network, maps)
    assert device == "CPU:0"
    np.testing.assert_allclose(compute(), network(maps).numpy(), rtol=1e-4, atol=1e-4)
