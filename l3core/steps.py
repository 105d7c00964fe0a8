"""Windows that are a network's own steps in time: how many there are, and what each depends on.

A network of convolutions and poolings that runs over a whole recording gives a vector for every so many
samples of it. Such a *step* depends on a stretch of the recording, its *reach*, that is longer than the
way from step to step, and on where the recording begins and ends: the layers see zeros there, which are
not those of a silent recording. As a window, a step is as long as that way, and lies in the middle of
its reach: windows lie side by side.
"""

from dataclasses import dataclass
from math import prod
from typing import NamedTuple


class Rung(NamedTuple):
    """A layer along time, from a signal to its own outputs, all counted in the layer's own numbers.

    Attributes:
        kernel: inputs of an output.
        stride: inputs from an output to the next.
        padding: zeros before the first input and behind the last.
    """

    kernel: int
    stride: int
    padding: int = 0

    def count(self, inputs: int) -> int:
        """Outputs of so many inputs; of none there are none."""
        return max(0, (inputs + 2 * self.padding - self.kernel) // self.stride + 1) if inputs > 0 else 0


@dataclass(frozen=True)
class Steps:
    """The steps of a network's last layer.

    Attributes:
        rungs: its layers, the first one first.
    """

    rungs: tuple[Rung, ...]

    def count(self, samples: int) -> int:
        """Steps of a recording; one that is too short for any counts as the shortest that has one."""
        outputs = max(samples, self.shortest) if samples > 0 else 0
        for rung in self.rungs:
            outputs = rung.count(outputs)
        return outputs

    @property
    def stride(self) -> int:
        """Samples from step to step."""
        return prod(rung.stride for rung in self.rungs)

    @property
    def reach(self) -> int:
        """Samples that a step depends on."""
        return self._inputs_of_one(padded=False)

    @property
    def shortest(self) -> int:
        """Samples of the shortest recording that has a step."""
        return self._inputs_of_one(padded=True)

    def _inputs_of_one(self, *, padded: bool) -> int:
        inputs = 1
        for rung in reversed(self.rungs):
            zeros = 2 * rung.padding if padded else 0
            inputs = max(1, (inputs - 1) * rung.stride + rung.kernel - zeros)
        return inputs

    @property
    def context(self) -> tuple[int, int]:
        """Samples of its reach (before, after) a step's window."""
        rest = self.reach - self.stride
        return rest // 2, rest - rest // 2

    @property
    def offset(self) -> int:
        """First sample of the first step's window."""
        first, jump = 0, 1
        for rung in self.rungs:
            first -= rung.padding * jump
            jump *= rung.stride
        return first + self.context[0]
