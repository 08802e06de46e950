"""How much a reader accepts and a writer writes: every bound is a setting."""

from dataclasses import dataclass, fields

from kinema.errors import BitstreamError, ConfigError, LimitError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Upper bounds, each inclusive, that keep hostile bytes from costing memory or time.

    Raises:
        ConfigError: a bound is below 1.
    """

    max_width: int = 16384  # luma samples
    max_height: int = 16384  # luma samples
    max_samples: int = 1 << 26  # luma samples per picture: 8192x8192
    max_header_bytes: int = 1 << 20  # sequence header: room for 15 audio tracks with full extradata
    max_packet_bytes: int = 1 << 26  # body of one packet: far above one raw 8K picture
    max_audio_tracks: int = 16
    max_text_bytes: int = 64  # name of an audio codec, a channel layout, a language
    max_extradata_bytes: int = 1 << 16  # set-up bytes of one audio track
    max_references: int = 8  # pictures that one frame predicts from
    max_index_entries: int = 1 << 21  # frames: 19 hours at 30 per second; 60 MB in memory
    max_search_effort: int = 64  # bytes checksummed in vain per byte of a damaged file

    def __post_init__(self) -> None:
        for bound in fields(self):
            value = getattr(self, bound.name)
            if value < 1:
                raise ConfigError(f"{bound.name} is {value}, expected at least 1")


DEFAULT_LIMITS = Limits()


def check_limit(name: str, value: int, limit: int) -> None:
    """Refuse a value above a limit.

    Raises:
        LimitError: it is.
    """
    if value > limit:
        raise LimitError(f"{name} is {value}, the limit is {limit}")


def check_range(name: str, value: int, lowest: int, highest: int) -> None:
    """Refuse a value that the format has no room for.

    Raises:
        BitstreamError: it lies outside `lowest..highest`.
    """
    if not lowest <= value <= highest:
        raise BitstreamError(f"{name} is {value}, expected {lowest}..{highest}")
