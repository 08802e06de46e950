"""Bytes written and read one field at a time.

Integers are little-endian. A varint holds 7 bits per byte, low bits first, the high bit set on all
bytes but the last, at most 9 bytes; a signed varint holds `2 v` for v >= 0, `-2 v - 1` for v < 0.
"""

from fractions import Fraction

from kinema.bitstream.limits import check_limit, check_range
from kinema.errors import BitstreamError, TruncatedError

MAX_VARINT_BYTES = 9
VARINT_MAX = (1 << 63) - 1
SIGNED_MAX = (1 << 62) - 1  # signed varints reach from -SIGNED_MAX - 1 to SIGNED_MAX
U32_MAX = (1 << 32) - 1


class ByteWriter:
    """Collects fields; a value that its field cannot hold raises BitstreamError."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> None:
        """Append bytes as they are."""
        self._data += data

    def write_uint(self, value: int, num_bytes: int) -> None:
        """Append an unsigned integer of fixed length."""
        check_range("integer", value, 0, (1 << 8 * num_bytes) - 1)
        self._data += value.to_bytes(num_bytes, "little")

    def write_varint(self, value: int) -> None:
        """Append an unsigned varint, 0..VARINT_MAX."""
        check_range("varint", value, 0, VARINT_MAX)
        while value > 0x7F:
            self._data.append(value & 0x7F | 0x80)
            value >>= 7
        self._data.append(value)

    def write_signed(self, value: int) -> None:
        """Append a signed varint."""
        check_range("signed varint", value, -SIGNED_MAX - 1, SIGNED_MAX)
        self.write_varint(2 * value if value >= 0 else -2 * value - 1)

    def write_fraction(self, value: Fraction) -> None:
        """Append a positive fraction: numerator and denominator, 4 bytes each."""
        check_range("numerator", value.numerator, 1, U32_MAX)
        check_range("denominator", value.denominator, 1, U32_MAX)
        self.write_uint(value.numerator, 4)
        self.write_uint(value.denominator, 4)

    def write_text(self, text: str) -> None:
        """Append printable ASCII behind its length, 1 byte."""
        _check_text(text)
        self.write_uint(len(text), 1)
        self.write(text.encode("ascii"))

    def write_block(self, data: bytes) -> None:
        """Append bytes behind their number, a varint."""
        self.write_varint(len(data))
        self.write(data)

    def to_bytes(self) -> bytes:
        """Give everything written so far."""
        return bytes(self._data)


class ByteReader:
    """Reads the same fields back.

    Raises (every method):
        TruncatedError: the bytes end inside the field.
        BitstreamError: the bytes are none that the writer produces.
        LimitError: a length exceeds the limit given.
    """

    __slots__ = ("_data", "position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0  # bytes read so far

    @property
    def num_left(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self.position

    def read(self, length: int) -> bytes:
        """Take the next `length` bytes as they are."""
        if length > self.num_left:
            raise TruncatedError(
                f"{self.num_left} bytes left after byte {self.position} of {len(self._data)}, "
                f"expected {length}"
            )
        self.position += length
        return self._data[self.position - length : self.position]

    def read_uint(self, num_bytes: int) -> int:
        """Take an unsigned integer of fixed length."""
        return int.from_bytes(self.read(num_bytes), "little")

    def read_choice(self, num_choices: int) -> int:
        """Take 1 byte that numbers one of `num_choices`."""
        value = self.read_uint(1)
        check_range("choice", value, 0, num_choices - 1)
        return value

    def read_varint(self) -> int:
        """Take an unsigned varint."""
        value = 0
        for i in range(MAX_VARINT_BYTES):
            byte = self.read_uint(1)
            value |= (byte & 0x7F) << 7 * i
            if byte < 0x80:
                if byte == 0 and i > 0:
                    raise BitstreamError(f"varint of {i + 1} bytes ends in 0, expected fewer bytes")
                return value
        raise BitstreamError(f"varint does not end, expected at most {MAX_VARINT_BYTES} bytes")

    def read_signed(self) -> int:
        """Take a signed varint."""
        value = self.read_varint()
        return value >> 1 if value % 2 == 0 else -(value >> 1) - 1

    def read_fraction(self) -> Fraction:
        """Take a positive fraction in lowest terms."""
        numerator, denominator = self.read_uint(4), self.read_uint(4)
        if numerator == 0 or denominator == 0:
            raise BitstreamError(f"fraction is {numerator}/{denominator}, expected both above 0")
        value = Fraction(numerator, denominator)
        if value.denominator != denominator:
            raise BitstreamError(f"fraction is {numerator}/{denominator}, expected {value}")
        return value

    def read_text(self, limit: int) -> str:
        """Take printable ASCII of at most `limit` characters."""
        length = self.read_uint(1)
        check_limit("text length", length, limit)
        text = self.read(length).decode("latin-1")
        _check_text(text)
        return text

    def read_block(self, limit: int) -> bytes:
        """Take bytes behind their number, at most `limit`."""
        length = self.read_varint()
        check_limit("block length", length, limit)
        return self.read(length)

    def finish(self) -> None:
        """Demand that nothing is left."""
        if self.num_left:
            raise BitstreamError(f"{self.num_left} bytes after the last field, expected none")


def _check_text(text: str) -> None:
    if not (text.isascii() and (text == "" or text.isprintable())):
        raise BitstreamError(f"text is {text!a}, expected printable ASCII")
    check_range("text length", len(text), 0, 255)
