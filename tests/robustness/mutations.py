"""Ways to damage a `.kin` file: by accident, and by somebody who knows the format.

Standard library only and no import of the package, so that a bug there cannot hide here.
"""

import random
import re
import zlib
from collections.abc import Callable

SYNC = re.compile(rb"\xd5[\xa0-\xaf]")
OPENING_BYTES = 13  # magic 8, version 1, size of the sequence header 4
EDGE_VALUES = (0, 1, 0x7F, 0x80, 0xFF)
EDGE_VARINTS = tuple(
    bytes.fromhex(text)
    for text in ("00", "01", "7f", "8000", "ff7f", "ffff03", "ffffff1f", "ff" * 8 + "7f", "ff" * 12)
)


def mutate(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Damage a file in one way, or now and then in several.

    Args:
        data: a whole `.kin` file.
        rng: decides everything, so that a seed names a case.

    Returns:
        What was done, for messages, and the damaged bytes; any length, possibly unchanged.
    """
    names = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        name = rng.choice(tuple(MUTATIONS))
        names.append(name)
        data = MUTATIONS[name](data, rng)
    return "+".join(names), data


def _flip_bits(data: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 2, 8, 64)) if data else 0):
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def _set_bytes(data: bytes, rng: random.Random) -> bytes:
    start, end = _stretch(data, rng)
    return data[:start] + bytes([rng.choice(EDGE_VALUES)]) * (end - start) + data[end:]


def _randomize(data: bytes, rng: random.Random) -> bytes:
    start, end = _stretch(data, rng)
    return data[:start] + rng.randbytes(end - start) + data[end:]


def _truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _remove(data: bytes, rng: random.Random) -> bytes:
    start, end = _stretch(data, rng)
    return data[:start] + data[end:]


def _insert(data: bytes, rng: random.Random) -> bytes:
    start = rng.choice((rng.randrange(len(data) + 1), _some_packet(data, rng)))
    return data[:start] + rng.randbytes(rng.choice((1, 7, 100))) + data[start:]


def _duplicate(data: bytes, rng: random.Random) -> bytes:
    start, end = _stretch(data, rng)
    return data[:end] + data[start:]


def _splice(data: bytes, rng: random.Random) -> bytes:
    """Join the beginning to a later or earlier part: packets are lost, repeated, out of order."""
    return data[: rng.randrange(len(data) + 1)] + data[rng.randrange(len(data) + 1) :]


def _swap_packets(data: bytes, rng: random.Random) -> bytes:
    cuts = sorted(_some_packet(data, rng) for _ in range(3))
    return data[: cuts[0]] + data[cuts[1] : cuts[2]] + data[cuts[0] : cuts[1]] + data[cuts[2] :]


def _hostile_varint(data: bytes, rng: random.Random) -> bytes:
    """Overwrite the size of a packet, or a byte after it, with an extreme varint."""
    start = min(_some_packet(data, rng) + rng.choice((2, 2, 3, 4, 5, 6)), len(data))
    value = rng.choice(EDGE_VARINTS)
    return data[:start] + value + data[start + len(value) :]


def _hostile_opening(data: bytes, rng: random.Random) -> bytes:
    """Change the sequence header and make its checksum hold again."""
    size = int.from_bytes(data[9:OPENING_BYTES], "little")
    end = OPENING_BYTES + size
    if not 0 < size <= len(data) - OPENING_BYTES - 4:
        return data
    head = bytearray(data[:end])
    for _ in range(rng.choice((1, 2, 5))):
        start, length = rng.randrange(8, end), rng.choice((1, 1, 2, 4))
        value = rng.choice((*EDGE_VALUES, rng.randrange(256)))
        head[start : min(start + length, end)] = bytes([value]) * min(length, end - start)
    return bytes(head) + zlib.crc32(head).to_bytes(4, "little") + data[end + 4 :]


def _hostile_packet(data: bytes, rng: random.Random) -> bytes:
    """Change the inside of a packet and make its checksum hold again."""
    start, begin, end = _sound_packet(data, rng)
    if end == start:
        return data
    packet = bytearray(data[start:end])
    inside = range(1, min(len(packet), begin - start + rng.choice((4, 20, 1000))))
    for i in rng.choices(
        [i for i in inside if not 2 <= i < begin - start], k=rng.choice((1, 2, 4))
    ):
        packet[i] = rng.choice((*EDGE_VALUES, rng.randrange(256)))
    return data[:start] + bytes(packet) + zlib.crc32(packet).to_bytes(4, "little") + data[end + 4 :]


def _forged_packet(data: bytes, rng: random.Random) -> bytes:
    """Insert a packet of any type with a sound checksum and a random body."""
    body = b"".join(
        rng.choice((rng.randbytes(3), rng.choice(EDGE_VARINTS))) for _ in range(rng.randrange(8))
    )
    packet = bytes((0xD5, 0xA0 | rng.randrange(16), len(body))) + body
    start = _some_packet(data, rng)
    return data[:start] + packet + zlib.crc32(packet).to_bytes(4, "little") + data[start:]


def _false_starts(data: bytes, rng: random.Random) -> bytes:
    """Fill a stretch with bytes that look like the start of a long packet."""
    start = rng.randrange(len(data) + 1)
    false_start = bytes(
        (0xD5, 0xA0 | rng.randrange(16), 0x80 | rng.randrange(128), rng.randrange(128))
    )
    return data[:start] + false_start * rng.choice((1, 10, 500)) + data[start:]


MUTATIONS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "flip_bits": _flip_bits,
    "set_bytes": _set_bytes,
    "randomize": _randomize,
    "truncate": _truncate,
    "remove": _remove,
    "insert": _insert,
    "duplicate": _duplicate,
    "splice": _splice,
    "swap_packets": _swap_packets,
    "hostile_varint": _hostile_varint,
    "hostile_opening": _hostile_opening,
    "hostile_packet": _hostile_packet,
    "forged_packet": _forged_packet,
    "false_starts": _false_starts,
}


def _stretch(data: bytes, rng: random.Random) -> tuple[int, int]:
    """Choose bytes `start..end - 1`: mostly few, sometimes many."""
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.choice((1, 2, 4, 16, 256, 4096)))


def _some_packet(data: bytes, rng: random.Random) -> int:
    """Choose a place that looks like the start of a packet; the end where there is none."""
    starts = [match.start() for match in SYNC.finditer(data)]
    return rng.choice(starts) if starts else len(data)


def _sound_packet(data: bytes, rng: random.Random) -> tuple[int, int, int]:
    """Choose a packet: its start, start of its body, end of its body; all equal for none."""
    start = _some_packet(data, rng)
    size, begin = 0, start + 2
    for i, byte in enumerate(data[begin : begin + 5]):
        size |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            end = begin + i + 1 + size
            return (start, begin + i + 1, end) if end + 4 <= len(data) else (start, start, start)
    return start, start, start
