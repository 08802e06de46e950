import runpy
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinema.bitstream.bits import SIGNED_MAX, VARINT_MAX, ByteReader, ByteWriter
from kinema.errors import BitstreamError, LimitError, TruncatedError

STRATEGIES = runpy.run_path(str(Path(__file__).with_name("strategies.py")))
names, fractions = STRATEGIES["names"], STRATEGIES["fractions"]


def written(method, *args):
    writer = ByteWriter()
    getattr(writer, method)(*args)
    return writer.to_bytes()


@settings(max_examples=50)
@given(
    st.integers(0, 2**32 - 1),
    STRATEGIES["unsigned"],
    STRATEGIES["signed"],
    fractions,
    names,
    st.binary(max_size=300),
)
def test_every_field_comes_back(uint, varint, signed, fraction, text, block):
    writer = ByteWriter()
    writer.write_uint(uint, 4)
    writer.write_varint(varint)
    writer.write_signed(signed)
    writer.write_fraction(fraction)
    writer.write_text(text)
    writer.write_block(block)
    reader = ByteReader(writer.to_bytes())
    assert reader.read_uint(4) == uint
    assert reader.read_varint() == varint
    assert reader.read_signed() == signed
    assert reader.read_fraction() == fraction
    assert reader.read_text(64) == text
    assert reader.read_block(300) == block
    reader.finish()


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "00"), (127, "7f"), (128, "8001"), (16384, "808001"), (VARINT_MAX, "ff" * 8 + "7f")],
)
def test_varints_have_these_bytes(value, expected):
    assert written("write_varint", value).hex() == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "00"),
        (-1, "01"),
        (1, "02"),
        (-64, "7f"),
        (64, "8001"),
        (-SIGNED_MAX - 1, "ff" * 8 + "7f"),
    ],
)
def test_signed_varints_have_these_bytes(value, expected):
    assert written("write_signed", value).hex() == expected


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("write_uint", (256, 1)),
        ("write_uint", (-1, 2)),
        ("write_varint", (-1,)),
        ("write_varint", (VARINT_MAX + 1,)),
        ("write_signed", (SIGNED_MAX + 1,)),
        ("write_signed", (-SIGNED_MAX - 2,)),
        ("write_fraction", (Fraction(0),)),
        ("write_fraction", (Fraction(-1, 2),)),
        ("write_fraction", (Fraction(1, 2**32),)),
        ("write_text", ("a" * 256,)),
        ("write_text", ("é",)),
        ("write_text", ("two\nlines",)),
    ],
)
def test_writer_refuses_what_has_no_place(method, args):
    with pytest.raises(BitstreamError, match="expected"):
        written(method, *args)


@pytest.mark.parametrize(
    ("method", "args", "data", "error"),
    [
        ("read", (2,), "00", TruncatedError),
        ("read_uint", (4,), "000000", TruncatedError),
        ("read_varint", (), "", TruncatedError),
        ("read_varint", (), "ffff", TruncatedError),
        ("read_varint", (), "ff" * 9, BitstreamError),
        ("read_varint", (), "8000", BitstreamError),  # longer than needed
        ("read_signed", (), "80" * 9 + "01", BitstreamError),
        ("read_fraction", (), "0000000001000000", BitstreamError),
        ("read_fraction", (), "0100000000000000", BitstreamError),
        ("read_fraction", (), "0200000004000000", BitstreamError),  # not in lowest terms
        ("read_text", (64,), "41" + "61" * 65, LimitError),
        ("read_text", (64,), "0161"[:2], TruncatedError),
        ("read_text", (64,), "010a", BitstreamError),
        ("read_text", (64,), "01e9", BitstreamError),
        ("read_block", (9,), "0a" + "00" * 10, LimitError),
        ("read_block", (9,), "0900", TruncatedError),
        ("read_choice", (3,), "03", BitstreamError),
        ("finish", (), "00", BitstreamError),
    ],
)
def test_reader_refuses_with_the_right_error(method, args, data, error):
    with pytest.raises(error) as raised:
        getattr(ByteReader(bytes.fromhex(data)), method)(*args)
    assert type(raised.value) is error
