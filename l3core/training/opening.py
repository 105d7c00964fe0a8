"""A training that somebody wants to use: its settings, its checkpoints and the networks in them."""

from typing import TYPE_CHECKING

from l3core import storage
from l3core.errors import UsageError
from l3core.training.checkpoints import Checkpoints, State
from l3core.training.output import Identity, OutputPaths, read_identity

if TYPE_CHECKING:
    import keras


class Training:
    """What is in the folder of a training.

    Attributes:
        root: URI of the folder.
        identity: what is trained on what.
        checkpoints: that are there.
    """

    def __init__(self, root: str, identity: Identity) -> None:
        self.root = root
        self.identity = identity
        self.checkpoints = Checkpoints(root)

    def state(self, samples: int) -> State:
        """Where the training was at a checkpoint (`checkpoints.find` names one)."""
        return self.checkpoints.state(samples)

    def model(self, samples: int) -> "keras.Model":
        """The whole network of a checkpoint, in float32 (`l3core.models.avc.AvcNetwork.build`).

        Raises:
            DamagedError: it is not what was written.
            UsageError: it is of another network.
        """
        import keras

        from l3core.training.step import assign_named

        settings = self.identity.settings
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("float32")
        try:
            model = settings.network.build(seed=settings.seed, l2=settings.l2)
        finally:
            keras.config.set_dtype_policy(before)
        weights = self.checkpoints.weights(samples)
        assign_named(model.variables, weights, where=self.checkpoints.folder(samples))
        return model


def open_training(uri: str) -> Training:
    """The training in a folder.

    Raises:
        UsageError: there is none.
    """
    root = storage.absolute_folder(uri)
    identity = read_identity(OutputPaths(root))
    if identity is None:
        raise UsageError(f"no training at {uri}: l3flow avc train makes one")
    return Training(root, identity)
