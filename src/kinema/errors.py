"""Every error a caller can meet; each also inherits the built-in error it resembles."""


class KinemaError(Exception):
    """Root of all errors raised on purpose; its message is one line that says what and where."""


class BitstreamError(KinemaError, ValueError):
    """A `.kin` file holds bytes that its format does not allow."""


class TruncatedError(BitstreamError, EOFError):
    """The bytes end before the structure they started."""


class ChecksumError(BitstreamError):
    """A stored checksum differs from the one computed: the bytes or the decoder are damaged."""


class UnsupportedVersionError(BitstreamError):
    """The file was written by a format version this library does not know."""


class LimitError(BitstreamError):
    """A field exceeds the limits its reader was given."""


class MissingReferenceError(BitstreamError, LookupError):
    """A frame refers to another one that is lost, or was never decoded.

    Attributes:
        display_index: of the frame.
        missing: display index of the other one.
    """

    def __init__(self, display_index: int, missing: int) -> None:
        super().__init__(display_index, missing)
        self.display_index, self.missing = display_index, missing

    def __str__(self) -> str:
        """Give the line that a user reads."""
        return f"frame {self.display_index} refers to frame {self.missing}, which is lost"


class WeightsMismatchError(KinemaError, ValueError):
    """The model or the weights named by a file are not the ones at hand."""


class NumericProfileError(KinemaError, RuntimeError):
    """The arithmetic a file needs for exact decoding is not available."""


class ShapeError(KinemaError, ValueError):
    """A tensor or a picture has the wrong number of axes, channels or samples."""


class ConfigError(KinemaError, ValueError):
    """A setting or a combination of settings is not allowed."""


class VideoError(KinemaError, ValueError):
    """A video, audio or image file cannot be read or written as asked."""


class FileError(KinemaError, OSError):
    """A path cannot be opened, created or replaced."""


class WorkerError(KinemaError, RuntimeError):
    """Processes that share the work die, or cannot be reached."""
