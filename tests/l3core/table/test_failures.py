"""How many objects a run may fail to read."""

import pytest

from l3core.errors import AudioError, RunError
from l3core.table.failures import MOST_STORAGE_ERRORS, Failures, Most


@pytest.mark.parametrize(("total", "allowed"), [(0, 20), (1_999, 20), (2_100, 21), (1_000_000, 10_000)])
def test_by_default_a_hundredth_and_at_least_twenty(total, allowed):
    assert MOST_STORAGE_ERRORS.of(total) == allowed
    assert Most(0.0, 0).of(total) == 0


def test_a_shard_with_more_than_the_whole_run_may_have_is_given_up():
    failures = Failures(2)
    for status in ("storage-error", "unreadable", "vanished", "changed", "storage-error", "forbidden"):
        failures.count(AudioError(status, "why"))
    with pytest.raises(RunError, match="could not be read from their store: 3, and"):
        failures.count(AudioError("storage-error", "why"))
