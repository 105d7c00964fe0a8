"""`l3-narrow`: the network of `l3` with an eighth of its filters, to be trained by whoever has videos.

Nobody publishes weights of it. It learns in minutes on two cores what the whole network needs days for,
so it is what to try a corpus with, and what the walk through `l3flow avc` trains. Front ends, poolings
and grids are those of `l3`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn

from l3core.errors import WeightsError
from l3core.models.base import BundledFile, PublishedFile
from l3core.models.l3 import L3
from l3core.models.trunk import Trunk

if TYPE_CHECKING:
    from l3core.spec import EmbeddingSpec


class L3Narrow(L3):
    """The narrow L3 audio embedding, 768 or 64 numbers a second of sound."""

    name = "l3-narrow"
    summary = "L3-Net with an eighth of the filters, 48 kHz, 768-d or 64-d, for weights of your own"
    choices: Mapping[str, tuple] = {name: of for name, of in L3.choices.items() if name != "content"} | {
        "embedding_size": (768, 64)
    }
    windows_per_second = 120.0
    weights_are = "an .h5 (or .h5.gz) of l3flow avc export"
    trunk = Trunk(filters=(8, 8, 16, 16, 32, 32, 64, 64), activated_output=False)

    def weight_files(self) -> Mapping[str, PublishedFile | BundledFile]:
        """None."""
        return {}

    def weight_file(self, spec: "EmbeddingSpec") -> NoReturn:
        """There is none.

        Raises:
            WeightsError: always.
        """
        raise WeightsError(
            f"nobody publishes weights of model {self.name}: --weights needs a file of "
            "`l3flow avc export`, or random:SEED"
        )
