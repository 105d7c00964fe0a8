"""What is tried for every fold: learning rates and weight decays."""

from itertools import product
from typing import NamedTuple


class Hyperparameters(NamedTuple):
    """What the combinations differ in.

    Attributes:
        learning_rate: of Adam.
        weight_decay: factor of the sum of squares of each kernel in the loss (Keras' l2).
    """

    learning_rate: float
    weight_decay: float


# Cramer et al. 2019, section 4.2, in the order of their code.
GRID = tuple(Hyperparameters(*each) for each in product((1e-5, 1e-4, 1e-3), repeat=2))
