"""`python guarded.py COMMAND...`: runs a command for as long as whoever started this lives.

A process that is killed can clear nothing away. What it leaves is a closed pipe: standard input ends,
and with it the command.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

STOPS_WITHIN_S = 5.0


def main(command: Sequence[str]) -> int:
    """Run the command until it ends or standard input does; returns its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started this decides
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_stop_at_end_of_input, args=(process,), daemon=True).start()
    return process.wait()


def _stop_at_end_of_input(process: "subprocess.Popen[bytes]") -> None:
    while os.read(0, 1):  # not sys.stdin, whose lock would keep this process from ending
        pass
    process.terminate()
    try:
        process.wait(STOPS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
