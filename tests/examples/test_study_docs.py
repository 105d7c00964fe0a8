"""What docs/study.md shows is so: its plan takes what it says, its table names what a study leaves."""

import re
from pathlib import Path

from l3core.study.plan import CHECKPOINTS, DATASET_KEYS, EMBEDDINGS, KEYS
from launch import study_cost
from launch.main import main

REPO = Path(__file__).parents[2]
TEXT = (REPO / "docs/study.md").read_text(encoding="utf-8")
PLAN = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)[0]
SHOWN = re.findall(r"\$ l3flow study plan.toml --output result --dry-run\n((?:(?!\$).*\n)*)", TEXT)[0]
# what a machine needs differs
TIMES = re.compile(r"(?<=[kM]B, )\d+\.\d (s|min)|(?<=at most )\d+\.\d (s|min)")


def test_the_plan_takes_what_is_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(REPO)
    monkeypatch.setattr(study_cost, "TIMED_S", 0.1)
    monkeypatch.setattr(study_cost, "TIMED_STEPS", 2)
    (tmp_path / "plan.toml").write_text(PLAN, encoding="utf-8")
    plan = str(tmp_path / "plan.toml")
    assert main(["study", plan, "--output", str(tmp_path / "result"), "--dry-run"]) == 0
    *said, memory, time = TIMES.sub("#", capsys.readouterr().out).splitlines()
    assert said == TIMES.sub("#", SHOWN).splitlines()[:-2]
    for line, shown in zip((memory, time), SHOWN.splitlines()[-2:]):
        assert re.sub(r"[\d.]+ \w+", "#", line) == re.sub(r"[\d.]+ \w+", "#", shown)


def test_all_keys_are_told():
    about = TEXT.partition("## The plan")[2].partition("## The paper's comparison")[0]
    for key in {*KEYS, *DATASET_KEYS} - {"datasets", EMBEDDINGS, CHECKPOINTS}:
        assert f"`{key}`" in about
    for table in ("[datasets.NAME]", f"[[{EMBEDDINGS}]]", f"[[{CHECKPOINTS}]]"):
        assert f"`{table}`" in about
