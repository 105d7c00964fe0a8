"""A simulated month: clock changes, faults and kills; its table is that of one run on the last day."""

import json
import os
import shutil
import signal
from itertools import count

import pytest

from launch.main import main
from tests.corpus import FLAGS, ledger, snapshot, table_rows, write_audio
from tests.month import Month

GARBAGE = "<html>502 Bad Gateway</html>\n" * 40
ODD_NAMES = ('it\'s 100% = "größer".wav', "a b.flac", "--input.wav")
# What a row keeps of the run that made it.
PASSING = ("run_id", "embedded_at", "files")


@pytest.fixture
def month(tmp_path):
    return Month(tmp_path / "corpus", tmp_path / "table", FLAGS)


class Recordings:
    """People who add, replace and remove recordings."""

    def __init__(self, folder):
        self.folder = folder
        self._seeds = count()
        for name in ODD_NAMES:
            self._write(folder / name)

    def _write(self, path):
        write_audio(path, 1.0, seed=next(self._seeds))

    def all(self):
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    def add(self, number):
        for _ in range(number):
            seed = next(self._seeds)
            write_audio(self.folder / f"{seed % 7}/{seed:04d}.wav", 1.0, seed=seed)

    def replace(self, number):
        for path in self.all()[:: len(self.all()) // number][:number]:
            self._write(path)

    def remove(self, number):
        for path in self.all()[-number:]:
            path.unlink()

    def spoil(self, number):
        """Recordings that are none any more."""
        for path in self.all()[1 : number + 1]:
            path.write_text(GARBAGE)


def lasting(table):
    """The ledger's rows of what is there, without what a run leaves of itself."""
    rows = {clip: row for clip, row in ledger(table).items() if row["status"] != "gone"}
    return {
        clip: {name: value for name, value in row.items() if name not in PASSING}
        for clip, row in rows.items()
    }


def test_a_month(month, tmp_path, capsys):
    recordings = Recordings(month.corpus)
    recordings.add(30)

    # a table is made; a night without news; some news; two firings on end
    assert month.night(1, "2026-10-01 02:30:00").code == 0
    assert month.night(2, "2026-10-02 02:30:00").code == 0
    recordings.add(4)
    recordings.replace(2)
    recordings.spoil(1)
    (month.corpus / "touched.txt").touch()
    assert month.night(3, "2026-10-03 02:30:00").code == 0
    assert month.night(4, "2026-10-04 02:30:00").code == 0
    assert month.night(4, "2026-10-04 02:30:01").code == 0

    # a long run, during which the schedule fires again
    recordings.add(6)
    long = month.held("2026-10-05 02:30:00")
    second = month.night(5, "2026-10-05 03:30:00")
    assert (second.code, second.lines) == (0, [])
    assert long.poll() is None  # it was still at work
    month.hold.unlink()
    assert month.end(5, long).code == 0

    # killed, taken over; the machine is off for a night, and late the next day
    recordings.add(10)
    recordings.replace(3)
    assert month.stopped(6, "2026-10-06 02:30:00", signal.SIGKILL, shards=3).code == -signal.SIGKILL
    assert month.night(7, "2026-10-07 02:30:00").code == 0
    recordings.add(2)
    recordings.remove(1)
    assert month.night(9, "2026-10-09 11:07:00").code == 0

    # the store serves garbage for ten nights: ten lines, and the table is as it was
    before = snapshot(month.table)
    good = {path: (path.read_bytes(), path.stat()) for path in recordings.all()[:20]}
    for path in good:
        path.write_text(GARBAGE)
    garbage = [month.night(day, f"2026-10-{day} 02:30:00") for day in range(10, 20)]
    assert [night.code for night in garbage] == [1] * 10
    assert [len(night.lines) for night in garbage] == [1] * 10
    assert all("--max-unreadable allows" in night.lines[0] for night in garbage)
    assert snapshot(month.table) == before
    assert len(list(month.table.glob("_l3flow/staging/*"))) <= 2  # this one, and what it may take over
    assert len([run for run in month.runs() if run.get("status") == "failed"]) == 11  # and day 6
    for path, (content, stat) in good.items():
        path.write_bytes(content)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert month.night(20, "2026-10-20 02:30:00").code == 0
    assert not list(month.table.glob("_l3flow/staging/*"))

    # a full disk; then the clock is fourteen years ahead, and back again
    recordings.add(6)
    full = month.night(21, "2026-10-21 02:30:00", bytes_a_file=2_000)
    assert (full.code, len(full.lines)) == (1, 1)
    assert month.night(22, "2040-01-01 00:00:00").code == 0
    recordings.add(1)
    recordings.replace(1)
    assert month.night(23, "2026-10-23 02:30:00").code == 0

    # stopped by systemd, by a person; the hour that comes twice; a folder that is not mounted
    recordings.add(8)
    assert month.stopped(24, "2026-10-24 02:30:00", signal.SIGTERM, shards=2).code == 130
    first = month.held("2026-10-25 02:30:00")  # before the clocks go back
    again = month.night(25, "2026-10-25 02:30:00")
    month.hold.unlink()
    assert (again.code, month.end(25, first).code) == (0, 0)
    recordings.replace(8)
    assert month.stopped(26, "2026-10-26 02:30:00", signal.SIGINT, shards=2).code == 130
    month.corpus.rename(tmp_path / "elsewhere")
    away = month.night(27, "2026-10-27 02:30:00")
    assert (away.code, len(away.lines)) == (2, 1)
    (tmp_path / "elsewhere").rename(month.corpus)

    # too much is gone at once: somebody has to say that it is meant
    assert month.night(28, "2026-10-28 02:30:00").code == 0
    recordings.remove(20)
    shrunk = month.night(29, "2026-10-29 02:30:00")
    assert (shrunk.code, len(shrunk.lines)) == (2, 1)
    assert month.night(30, "2026-10-30 02:30:00", "--allow-shrink").code == 0
    recordings.add(3)
    assert month.night(31, "2026-10-31 02:30:00").code == 0

    # the table is that of a single run, and nothing else is left of the month than its lines
    scratch = tmp_path / "scratch"
    month.from_scratch(scratch)
    assert table_rows(month.table) == table_rows(scratch)
    assert lasting(month.table) == lasting(scratch)
    capsys.readouterr()
    assert main(["verify", "--table", str(month.table), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["findings"] == []
    assert not list(month.table.glob("_l3flow/staging/*"))
    assert not list(month.table.glob("_l3flow/lock/*.json"))
    runs = month.runs()
    done = [night for night in month.nights if night.code == 0]
    skipped = 2  # during the long run, and in the hour that comes twice
    failed = [night for night in month.nights if night.code not in (0, 2)]
    assert len([run for run in runs if run.get("status") in ("failed", "interrupted")]) == len(failed)
    assert len(runs) == len(done) - skipped + len(failed)
    assert {path.name for path in month.table.glob("windows/*")} == {
        path.name for path in scratch.glob("windows/*")
    }
    shutil.rmtree(scratch)
