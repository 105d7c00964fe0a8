"""Videos that are another one under another name: the sound of one is no wrong sound for the other.

Only objects of equal size can be the same. Of these the checksums are compared: the store's own, where
it gives one of the same kind for all of them, else what is computed by reading them.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from l3core.ahead import map_ahead
from l3core.checksums import expected_kind
from l3core.pinned import content_checksum
from l3core.storage import StoredObject

COMPUTED = "crc32c"


class Content(NamedTuple):
    """What is known of a video's content.

    Attributes:
        video_id: whose.
        listed: the object.
        checksum: where it is known, as of a `StoredObject`.
    """

    video_id: str
    listed: StoredObject
    checksum: str | None


class Found(NamedTuple):
    """What a search for duplicates has found.

    Attributes:
        first: id of a duplicate -> id of the video that it is the same as.
        checksums: id -> checksum, of all that had to be known.
    """

    first: Mapping[str, str]
    checksums: Mapping[str, str]


def find_duplicates(before: Iterable[Content], later: Iterable[Content]) -> Found:
    """Those that are the same as an earlier one.

    One whose content cannot be read is the same as none: who samples it finds out.

    Args:
        before: of which it is known that each is another one.
        later: in the order in which they count as first.
    """
    groups: dict[int, list[Content]] = defaultdict(list)
    later = [each for each in later if each.listed.size_bytes > 0]
    sizes = {each.listed.size_bytes for each in later}
    for each in [*(one for one in before if one.listed.size_bytes in sizes), *later]:
        groups[each.listed.size_bytes].append(each)
    checksums: dict[str, str] = {}
    alike = [group for group in groups.values() if len(group) > 1]
    for told in map_ahead(_checksums, alike):
        checksums |= told
    first: dict[str, str] = {}
    for group in alike:
        seen: dict[str, str] = {}
        for video_id in (each.video_id for each in group if each.video_id in checksums):
            found = seen.setdefault(checksums[video_id], video_id)
            if found != video_id:
                first[video_id] = found
    asked = {each.video_id for each in later}
    return Found({each: first[each] for each in first if each in asked}, checksums)


def _checksums(group: Sequence[Content]) -> dict[str, str]:
    """Id -> checksum of contents of one size, all of one kind."""
    kinds = {expected_kind(each.checksum) for each in group}
    if len(kinds) == 1 and None not in kinds:
        return {each.video_id: _plain(each.checksum) for each in group}
    found = {}
    for each in group:
        known = each.checksum if expected_kind(each.checksum) == COMPUTED else None
        if checksum := known or content_checksum(each.listed, COMPUTED):
            found[each.video_id] = checksum
    return found


def _plain(checksum: str | None) -> str:
    """A checksum under the name of its real kind: some etags are an MD5."""
    return f"{expected_kind(checksum)}:{str(checksum).partition(':')[2]}"
