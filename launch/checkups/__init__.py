"""What `l3flow doctor` looks at: one small module for each part of a machine, and a table of them."""

from collections.abc import Callable, Iterator, Mapping

from launch.checkups import flink, machine, numbers, packages, stores
from launch.checkups.finding import Asked, Finding

# In the order of what people need first; what takes seconds comes late.
CHECKUPS: Mapping[str, Callable[[Asked], Iterator[Finding]]] = {
    "packages": packages.look,
    "machine": machine.look,
    "weights": numbers.look_at_weights,
    "decoders": packages.look_at_decoders,
    "stores": stores.look,
    "flink": flink.look,
    "numbers": numbers.look_at_numbers,
}
