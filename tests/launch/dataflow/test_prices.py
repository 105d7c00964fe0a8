"""What a job would cost, against sums made by hand."""

import re
from pathlib import Path

import pytest
from apache_beam.testing.load_tests import dataflow_cost_consts as beams

from launch.dataflow import prices
from launch.dataflow.machines import GPUS, Machine, machine_of
from launch.dataflow.prices import RATES, cost_of, gpu_speed, machine_hour, machine_hours
from launch.dataflow.workers import Workers

RATE = RATES["us-central1"]
DOCUMENTATION = (Path(__file__).parents[3] / "docs/dataflow.md").read_text()


def workers(**given):
    return Workers(image="i", **given)


def test_the_rates_are_those_that_beam_quotes():
    assert RATE.core == beams.VCPU_PER_HR_BATCH
    assert RATE.memory_gb == beams.MEM_PER_GB_HR_BATCH
    assert RATE.disk_gb == beams.PD_PER_GB_HR
    assert RATE.gpu == {
        "t4": beams.T4_PER_GPU_PER_HOUR,
        "l4": beams.L4_PER_GPU_PER_HOUR,
        "a100": beams.A100_40GB_PER_GPU_PER_HOUR,
    }


def test_an_hour_of_a_machine():
    # 4 * 0.056 + 15 * 0.003557 + 25 * 0.000054
    plain = machine_hour(RATE, Machine(4, 15.0), disk_gb=25, gpu=None, gpus=0)
    assert plain == pytest.approx(0.224 + 0.053355 + 0.00135)
    # 24 * 0.056 + 96 * 0.003557 + 50 * 0.000054 + 2 * 0.672
    two = machine_hour(RATE, Machine(24, 96.0), disk_gb=50, gpu="l4", gpus=2)
    assert two == pytest.approx(1.344 + 0.341472 + 0.0027 + 1.344)


def test_hours_of_all_machines():
    # 36,000 windows at 10 a second are an hour of one machine; three take ten minutes each to start
    assert machine_hours(36_000, speed=10.0, machines=3) == pytest.approx(1.0 + 3 * 10 / 60)


def test_the_speed_of_a_gpu():
    # 24 windows/s at 480 GFLOP/s here; half of 30.3 TFLOP/s is 31.5625 times as much
    assert gpu_speed(24.0, 480.0, 30.3) == pytest.approx(24 * 31.5625)


def test_a_plan_with_gpus(monkeypatch):
    monkeypatch.setattr(prices, "product_gflops_here", lambda: 500.0)
    # 20 * 0.5 * 30,300 / 500 = 606 windows/s of an L4, 1,212 of a machine: 8,726,400 windows take 2 h
    facts, words = cost_of(workers(gpu="l4", gpus=2, most=4), "us-central1", 8_726_400, 100, 20.0)
    assert facts["machines"] == 4
    assert facts["windows_per_second_a_machine"] == pytest.approx(1212)
    assert facts["machine_hours"] == pytest.approx(2 + 4 / 6)
    assert facts["usd_per_machine_hour"] == pytest.approx(3.032172)
    assert facts["usd"] == 8.09  # 2.6667 * 3.032172 = 8.0858, a begun cent counts
    assert words == (
        "about 8.09 USD: 4 g2-standard-24 at 3.03 USD an hour for 40.0 min, of which 10 min to start "
        "are assumed; the speed of the l4 is assumed, 1212 windows/s a machine (list prices of "
        "us-central1, August 2026)"
    )
    assert facts["assumed"] == ["the speed of the l4 is assumed", "10 minutes for a machine to start"]
    assert facts["source"] == "https://cloud.google.com/dataflow/pricing"


def test_a_plan_without_gpus(monkeypatch):
    monkeypatch.setattr(prices, "usable_cores", lambda: 2)
    # four cores there are twice as fast as two here: 40 windows/s, 14,400 take 0.1 h
    facts, words = cost_of(workers(), "us-central1", 14_400, 1, 20.0)
    assert facts["machines"] == 1  # there is but one shard
    assert facts["machine_hours"] == pytest.approx(0.1 + 10 / 60, abs=1e-6)
    assert facts["usd"] == 0.08  # 0.26667 * 0.278705 = 0.0743
    assert "a core there taken to be as fast as here, 40 windows/s a machine" in words


def test_a_larger_disk_costs_more(monkeypatch):
    monkeypatch.setattr(prices, "product_gflops_here", lambda: 500.0)
    facts = [
        cost_of(workers(gpu="t4", disk_gb=disk), "us-central1", 1, 1, 20.0).facts
        for disk in (None, 1050)
    ]
    small, large = (each["usd_per_machine_hour"] for each in facts)
    assert large - small == pytest.approx(1000 * 0.000054)


def test_the_price_in_the_documentation(monkeypatch):
    monkeypatch.setattr(prices, "product_gflops_here", lambda: 446.0)
    _, words = cost_of(workers(gpu="l4"), "us-central1", 3_600_000, 200, 23.8)
    assert f"    price: {words}\n" in DOCUMENTATION


def test_the_gpus_in_the_documentation():
    rows = [
        line.split(" | ") for line in DOCUMENTATION.splitlines() if re.match(r"\| `\w+` \| 1, ", line)
    ]
    found = {row[0].strip("| `"): (row[1], row[3], row[4], row[5].rstrip(" |")) for row in rows}
    expected = {}
    for name, gpu in GPUS.items():
        machine = machine_of(gpu.defaults[1])
        offered = ", ".join(map(str, gpu.offered))
        has = f"{machine.cores}, {machine.memory_gb:.0f}"
        expected[name] = (offered, has, f"{gpu.memory_gb} GB", str(gpu.models))
    assert found == expected
    peaks = ", ".join(f"{gpu.tflops:g}" for gpu in GPUS.values())
    assert f"half of its float32 peak ({peaks} TFLOP/s)" in DOCUMENTATION


@pytest.mark.parametrize(
    ("given", "region", "missing"),
    [
        ({"gpu": "l4"}, "europe-west4", "no list price of europe-west4 (of us-central1 only)"),
        ({"gpu": "h100"}, "us-central1", "no list price of h100"),
        ({"machine_type": "custom-8-30720"}, "us-central1", "cores and memory of custom-8-30720"),
    ],
)
def test_what_has_no_price_says_so(given, region, missing):
    facts, words = cost_of(workers(**given), region, 1000, 10, 20.0)
    assert facts == {"usd": None, "missing": missing, "source": prices.SOURCE}
    assert words == f"not known: {missing}; see https://cloud.google.com/dataflow/pricing"
