"""What can be wrong with a video."""

# The ledger's words for a video of which there are no moments.
VIDEO_STATUSES = (
    "unreadable",  # no video, or damaged before anything useful
    "no-audio",
    "no-picture",  # sound only, a cover picture, or a single frame
    "too-short",  # less than a second of sound, or no frame while it sounds
    "silent",  # each second looked at is digital silence
    "black",  # each frame looked at is of one colour: nothing that a sound could belong to
    "too-large",  # of more bytes, pixels or frames than are decoded
    "timeout",
    "out-of-memory",
    "changed",
    "vanished",
    "forbidden",
    "storage-error",
)


class VideoError(Exception):
    """A video has no moments.

    Attributes:
        status: one of `VIDEO_STATUSES`.
        message: a sentence for the ledger.
    """

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message

    def __reduce__(self) -> tuple[type["VideoError"], tuple[str, str]]:
        """Or it could not be pickled, as Beam does."""
        return VideoError, (self.status, self.message)
