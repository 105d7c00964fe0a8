"""What a run may not do unasked: shrink a table, write much of it again, or do without its input."""

from dataclasses import dataclass

from l3core.errors import UsageError
from l3core.table.delta import Tally
from l3core.table.failures import MOST_STORAGE_ERRORS, Most
from l3core.table.state import TableState

MOST_PRUNED = 0.1  # of a partition's clips or windows
MOST_REWRITTEN = 0.5  # of a partition's bytes
MOST_REWRITTEN_BYTES = 10 * 10**9


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a run may not do unasked.

    Attributes:
        allow_shrink: prune more than `MOST_PRUNED` of a partition.
        max_rewrite: bytes of windows files that may be rewritten; None: half of the partition, and
            10 GB in any case.
        max_storage_errors: objects that the store may fail to give.
        max_unreadable: objects that may turn out unreadable; None: any number.
    """

    allow_shrink: bool = False
    max_rewrite: int | None = None
    max_storage_errors: Most = MOST_STORAGE_ERRORS
    max_unreadable: Most | None = None

    def check(self, state: TableState, fingerprint: str, tally: Tally) -> int:
        """Bytes of windows files that will be rewritten.

        Raises:
            UsageError: that is too much, or too much is pruned.
        """
        clips, windows = tally.pruned_clips, tally.pruned_windows
        pruned = max(clips / max(1, tally.clips), windows / max(1, tally.windows))
        if pruned > MOST_PRUNED and not self.allow_shrink:
            raise UsageError(
                f"--prune would drop {clips} of {tally.clips} clips ({windows} of {tally.windows} "
                f"windows), more than {MOST_PRUNED:.0%} of the table: --allow-shrink if that is right"
            )
        found = bytes_to_rewrite(state, fingerprint, tally)
        held = sum(state.files[path]["bytes"] for path in state.windows(fingerprint))
        most = self.max_rewrite
        if most is None:
            most = max(MOST_REWRITTEN_BYTES, int(MOST_REWRITTEN * held))
        if found > most:
            raise UsageError(
                f"--max-rewrite: {found / 1e9:.1f} GB of {held / 1e9:.1f} GB of windows "
                f"files would be rewritten, more than {most / 1e9:.1f} GB: give at least "
                f"--max-rewrite {-(-found // 10**9)}GB if that is right"
            )
        return found


def bytes_to_rewrite(state: TableState, fingerprint: str, tally: Tally) -> int:
    """Size of the windows files that lose some of their clips and keep others."""
    files = set(tally.to_rewrite())
    return sum(state.files[path]["bytes"] for path in state.windows(fingerprint) if path in files)
