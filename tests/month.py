"""A month of nights: a corpus that changes, and a scheduler that fires whatever happens to the machine.

Each night is a process of its own with a clock of its own (libfaketime), started as cron or systemd
would. The corpus lies on a disk whose times are the real ones.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
# Registers the tests' model, which needs no TensorFlow, and the pace that makes a run long enough to be
# met by another one or killed.
COMMAND = """
import os, select
from tests import fake_model

if __name__ == "__main__":
    fake_model.register()
    pace, hold = float(os.environ.get("PACE", 0)), os.environ.get("HOLD", "")
    embed = fake_model.FakeEngine.__call__

    def slowly(engine, signal, starts):
        select.select([], [], [], pace)  # libfaketime fails time.sleep
        while os.path.exists(hold):
            select.select([], [], [], 0.02)
        return embed(engine, signal, starts)

    if pace:
        fake_model.FakeEngine.__call__ = slowly
    from launch.main import run
    run()
"""
PACE_S = 0.15  # of each call of the model


@dataclass
class Night:
    """What a night's command left.

    Attributes:
        day: of the month.
        code: it exited with; negative: the signal that killed it.
        lines: on standard error.
    """

    day: int
    code: int
    lines: list[str]


@dataclass
class Month:
    """The machine and its schedule.

    Attributes:
        corpus: the folder of recordings.
        table: what the nights keep.
        flags: of every night's command, besides input and output.
        nights: so far.
    """

    corpus: Path
    table: Path
    flags: tuple[str, ...]
    nights: list[Night] = field(default_factory=list)

    @property
    def hold(self) -> Path:
        """While this file is there, slow runs do not get on."""
        return self.table.parent / "hold"

    def held(self, clock: str) -> "subprocess.Popen[str]":
        """Fire, and return when the run is at work, and as long as `hold` is there."""
        assert not list(self.table.glob("_l3flow/lock/*.json"))
        self.hold.touch()
        process = self.start(clock, slow=True)
        self.wait_for(process, lambda: any(self.table.glob("_l3flow/lock/*.json")))
        return process

    def command(self, *more: str, table: Path | None = None) -> list[str]:
        """The line that the scheduler fires."""
        given = ["embed", "--input", str(self.corpus), "--output", str(table or self.table)]
        nightly = ["--prune", "--if-running", "skip", "--max-unreadable", "5", "--json"]
        return [sys.executable, "-c", COMMAND, *given, *nightly, *self.flags, *more]

    def start(
        self, clock: str, *more: str, slow: bool = False, bytes_a_file: int | None = None
    ) -> "subprocess.Popen[str]":
        """Fire, at a time of the machine's clock, as `2026-10-25 02:30:00`.

        Args:
            clock: what it shows.
            more: further flags.
            slow: whether the model takes its time.
            bytes_a_file: a disk on which nothing larger can be written.
        """
        environment = os.environ | {
            "PYTHONPATH": str(REPOSITORY),
            "PACE": str(PACE_S if slow else 0),
            "HOLD": str(self.hold),
            "TZ": "Europe/Berlin",
            # not by the command faketime, which would be what a signal ends
            "LD_PRELOAD": str(next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))),
            "FAKETIME": f"@{clock}",
            "NO_FAKE_STAT": "1",  # the disk has a clock of its own
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        limited = [] if bytes_a_file is None else ["prlimit", f"--fsize={bytes_a_file}"]
        return subprocess.Popen(
            [*limited, *self.command(*more)],
            cwd=REPOSITORY,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def end(self, day: int, process: "subprocess.Popen[str]") -> Night:
        """Wait for a night's command, and note how it went."""
        _, err = process.communicate(timeout=120)
        night = Night(day, process.returncode, err.splitlines())
        self.nights.append(night)
        return night

    def night(self, day: int, clock: str, *more: str, bytes_a_file: int | None = None) -> Night:
        """One night as it should be: fire and wait."""
        return self.end(day, self.start(clock, *more, bytes_a_file=bytes_a_file))

    def stopped(self, day: int, clock: str, number: signal.Signals, *, shards: int) -> Night:
        """A night whose command is stopped by a signal when some shards are done."""
        process = self.start(clock, slow=True)
        self.wait_for(
            process, lambda: len(list(self.table.glob("_l3flow/staging/*/done/*.json"))) >= shards
        )
        os.killpg(process.pid, number)
        return self.end(day, process)

    def wait_for(self, process: "subprocess.Popen[str]", there: Callable[[], bool]) -> None:
        """Wait until a running command has left something."""
        while not there():
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)

    def runs(self) -> list[dict]:
        """What `l3flow runs` tells of the month."""
        command = [sys.executable, "-m", "launch.main", "runs", "--table", str(self.table), "--json"]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    def from_scratch(self, table: Path) -> None:
        """Embed the corpus as it is now into another table."""
        shutil.rmtree(table, ignore_errors=True)
        command = self.command(table=table)
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, capture_output=True)
