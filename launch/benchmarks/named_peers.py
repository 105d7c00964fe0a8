"""Whom the whole command can be compared with: `l3flow bench --against NAMES`."""

import difflib
from typing import NamedTuple

from l3core.errors import UsageError
from l3core.spec import EmbeddingSpec

GRIDS = ("center", "nocenter")  # that openl3 has


class Peer(NamedTuple):
    """Another way to the same vectors.

    Attributes:
        script: of `peers`, which can also be run by hand.
        requirements: of its environment, in `peers`; None: it runs in this one.
        suffix: of its results.
    """

    script: str
    requirements: str | None
    suffix: str


PEERS = {
    "openl3": Peer("openl3_loop.py", "openl3.txt", ".npz"),
    "ray": Peer("ray_data.py", "ray.txt", ".parquet"),
    "plain": Peer("plain_loop.py", None, ".npz"),
}


def peer_names(text: str) -> tuple[str, ...]:
    """The peers that a list with commas names, each once.

    Raises:
        UsageError: a name that is none.
    """
    names = tuple(dict.fromkeys(filter(None, map(str.strip, text.split(",")))))
    if not names:
        raise UsageError(f"--against needs names; there are {', '.join(PEERS)}")
    for name in names:
        if name not in PEERS:
            near = difflib.get_close_matches(name, PEERS, n=1)
            hint = f", did you mean {near[0]}?" if near else f"; there are {', '.join(PEERS)}"
            raise UsageError(f"--against does not know {name!r}{hint}")
    return names


def check_spec(spec: EmbeddingSpec) -> None:
    """Whether the peers can compute a spec.

    Raises:
        UsageError: they cannot.
    """
    if spec.model != "l3" or spec.frontend != "openl3" or spec.grid not in GRIDS:
        raise UsageError(
            "--against needs what openl3 can compute: --model l3, --frontend openl3 and "
            f"--grid {' or '.join(GRIDS)}"
        )
