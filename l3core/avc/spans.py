"""The parts of a sound that have no gap, put together from its packets.

Runs in the process that decodes (`l3core.avc.child`).
"""

from array import array

from l3core.avc.errors import VideoError

MOST_SPANS = 2**16
GAP_S = 0.25  # between packets of sound: the longest that codecs pack, where no container tells more


class Spans:
    """Takes packets as they come, most of them in order of time."""

    def __init__(self) -> None:
        self._bounds_s = array("d")  # a beginning, its end, the next beginning

    @property
    def last_s(self) -> float | None:
        """The end of the part that was added to last."""
        return self._bounds_s[-1] if self._bounds_s else None

    def add(self, begin_s: float, end_s: float) -> None:
        """Take a packet's time.

        Raises:
            VideoError: `unreadable`, there are too many parts.
        """
        bounds = self._bounds_s
        if bounds and begin_s <= bounds[-1] + GAP_S and end_s >= bounds[-2]:
            bounds[-2], bounds[-1] = min(bounds[-2], begin_s), max(bounds[-1], end_s)
        elif len(bounds) < 2 * MOST_SPANS:
            bounds.extend((begin_s, end_s))
        else:
            raise VideoError("unreadable", f"the sound has more than {MOST_SPANS} gaps")

    def begin_at(self, time_s: float) -> None:
        """The first part begins no earlier."""
        self._bounds_s[0] = min(max(self._bounds_s[0], time_s), self._bounds_s[1])

    def united(self) -> "array[float]":
        """Beginning and end of each part, in order; none overlaps another one, whatever packets say."""
        import numpy as np

        spans = np.array(self._bounds_s).reshape(-1, 2)
        spans = spans[spans[:, 0].argsort(kind="stable")]
        ends = np.maximum.accumulate(spans[:, 1])
        new = np.append(True, spans[1:, 0] > ends[:-1])[: len(spans)]
        last = np.append(new[1:], True)[: len(spans)]
        return array("d", np.column_stack([spans[new, 0], ends[last]]).ravel().tobytes())
