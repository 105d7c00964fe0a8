"""Measures what each consumer makes of the awkward table, and prints it as the README's table.

`make consumers` writes the README's table again.
"""

import json
import os
import re
import subprocess
import tempfile
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pytest

import tests.conftest  # noqa: F401  (the fake model, where this is the main module)
from tests.contract.awkward import SIZES, compact_copy_of, copy_of, make_table, rows_of
from tests.contract.comparing import Compared, compare
from tests.contract.consumers import CONSUMERS, FLINK

REPO = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("L3FLOW_TEST_ENGINES", REPO / ".venv/engines")) / "bin/python"
JARS = Path(os.environ.get(FLINK, REPO / ".venv/flink-sql"))
README = REPO / "README.md"
BEGIN, END = "<!-- consumers -->\n", "<!-- /consumers -->\n"
HEAD = """\
| consumer | reads with | a vector is | `--compact-encoding` | |
| --- | --- | --- | --- | --- |
"""
SMALL, LARGE = SIZES


class Measured(NamedTuple):
    """What a consumer made of every part of the tables.

    Attributes:
        version: of the consumer.
        kinds: part -> what a vector is to it.
        errors: part -> what it says that it cannot read.
        compared: part -> the values, where it could.
    """

    version: str
    kinds: dict[str, str]
    errors: dict[str, str]
    compared: dict[str, Compared]


class AwkwardTables:
    """The table and its variants, in a folder of their own; each consumer reads them once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with pytest.MonkeyPatch.context() as monkeypatch:
            self.specs = make_table(folder, monkeypatch)
            spec = f"windows/spec={self.specs[SMALL]}"
            compact_copy_of(folder / "table" / spec, folder / "compact" / spec, SMALL)
        copy_of(folder / "table", folder / "plain")
        self._measured: dict[str, Measured] = {}

    @cached_property
    def parts(self) -> dict[str, Path]:
        """Name of a part -> its folder, below the table or a variant of it."""
        of = {size: f"windows/spec={spec}" for size, spec in self.specs.items()}
        found = {}
        for variant, name in (("table", ""), ("plain", " without ARROW:schema")):
            found |= {f"{size}-d{name}": self.folder / variant / path for size, path in of.items()}
            found[f"clips{name}"] = self.folder / variant / "clips"
        return found | {"compact": self.folder / "compact" / of[SMALL]}

    @cached_property
    def truth(self) -> dict[str, pa.Table]:
        """Name of a part -> the rows that are in the table."""
        table = self.folder / "table"
        paths = {name: table.joinpath(*path.parts[-2:]) for name, path in self.parts.items()}
        paths |= {name: table / "clips" for name in paths if name.startswith("clips")}
        return {name: rows_of(path.rglob("*.parquet")) for name, path in paths.items()}

    @cached_property
    def runs(self) -> dict[str, str]:
        """Run -> its spec."""
        return {
            run: spec
            for spec in self.specs.values()
            for file in (self.folder / "table/clips" / f"spec={spec}").iterdir()
            for run in rows_of([file])["run_id"].to_pylist()
        }

    def measured(self, name: str) -> Measured:
        """What a consumer makes of it."""
        if name not in self._measured:
            self._measured[name] = self._measure(name)
        return self._measured[name]

    def _measure(self, name: str) -> Measured:
        out = self.folder / f"by {name}"
        out.mkdir()
        facts = read_by(name, {part: str(path) for part, path in self.parts.items()}, out)
        compared = {}
        for part in self.parts.keys() - facts["errors"].keys():
            with pa.memory_map(str(out / f"{part}.arrow")) as file:
                read = pa.ipc.open_file(file).read_all()
                spec = self.runs if part.startswith("clips") else self.parts[part].name[len("spec=") :]
                compared[part] = compare(read, self.truth[part], spec)
        return Measured(facts["version"], facts["kinds"], facts["errors"], compared)


def read_by(name: str, parts: dict[str, str], out: Path) -> dict:
    """Let a consumer read folders, in its environment; returns its facts."""
    run_there("consumers.py", name, json.dumps(parts), out)
    return json.loads((out / "facts.json").read_text(encoding="utf-8"))


def run_there(script: str, *arguments: str | Path) -> None:
    """Run a script of this folder where the engines are; the last argument is its folder."""
    assert PYTHON.exists(), "make .venv/engines/.done installs what reads here"
    assert any(JARS.glob("*.jar")), "make .venv/flink-sql/.done fetches Flink SQL"
    kept = {key: os.environ[key] for key in ("PATH", "JAVA_HOME", "TMPDIR") if key in os.environ}
    done = subprocess.run(
        [PYTHON, REPO / "tests/contract" / script, *arguments],
        env=kept
        | {
            "HOME": str(arguments[-1]),
            "LC_ALL": "C.UTF-8",
            FLINK: str(JARS),
            "HF_HUB_OFFLINE": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
            "SPARK_LOCAL_IP": "127.0.0.1",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def line_of(name: str, measured: Measured) -> str:
    """A consumer's line of the README's table."""
    consumer = CONSUMERS[name]
    kind = measured.kinds[f"{SMALL}-d"].replace(str(SMALL), "d")
    refused = measured.errors.get("compact")
    changed = measured.compared["clips"].changed
    remark = f"ledger: {', '.join(changed)}" if changed else ""
    read = "yes" if refused is None else f"**no**: {refused}"
    title = f"{consumer.title} {measured.version}"
    return f"| {title} | `{consumer.read}` | `{kind}` | {read} | {remark} |\n"


def readme_table() -> str:
    """What stands between the marks in the README."""
    text = README.read_text(encoding="utf-8")
    return text[text.index(BEGIN) + len(BEGIN) : text.index(END)]


def main() -> None:
    """Write the README's table again."""
    with tempfile.TemporaryDirectory() as folder:
        tables = AwkwardTables(Path(folder))
        lines = [line_of(name, tables.measured(name)) for name in CONSUMERS]
    text = README.read_text(encoding="utf-8")
    block = re.compile(re.escape(BEGIN) + ".*" + re.escape(END), re.DOTALL)
    written = BEGIN + HEAD + "".join(lines) + END
    README.write_text(block.sub(lambda _: written, text), encoding="utf-8")


if __name__ == "__main__":
    main()
