"""Tier B: `conformance/coder.toml` pins the coder's bytes, for both implementations."""

import hashlib
import runpy
import tomllib
from pathlib import Path

import numpy as np
import pytest

from kinema import errors
from kinema.entropy.symbols import SymbolReader, SymbolWriter
from kinema.entropy.tables import TableSet

ROOT = Path(__file__).parents[1]
REFERENCE = runpy.run_path(str(ROOT / "tests/entropy/reference_coder.py"))
CODER = tomllib.loads((ROOT / "conformance/coder.toml").read_text())
NUM_VECTORS = {"vector": 7, "generated": 2, "negative": 4}  # may only grow
TABLES = {
    name: TableSet.from_arrays({key: np.array(values, np.int32) for key, values in arrays.items()})
    for name, arrays in CODER["tables"].items()
}


def generate(vector):
    x, values = vector["seed"], []
    for _ in range(2 * vector["count"]):
        x = (1103515245 * x + 12345) % 2**31
        values.append(x // 256)
    index, symbols = np.array(values).reshape(2, -1)
    tables = TABLES[vector["tables"]]
    return symbols % vector["spread"] + vector["lowest"], index % tables.num_indices, tables


def pushes_of(vector):
    return [
        (
            np.array(p["symbols"], np.int32),
            np.array(p["table_index"], np.int32),
            TABLES[p["tables"]],
        )
        for p in vector["pushes"]
    ]


def check_both_ways(pushes, expected):
    writer, reader = SymbolWriter(), SymbolReader(expected)
    for push in pushes:
        writer.push(*push)
    assert writer.finish() == expected
    for symbols, index, tables in pushes:
        assert np.array_equal(reader.pull(index, tables), symbols)
    reader.finish()


def plain_tables(tables):
    rows = np.split(tables.frequencies, tables.offsets[1:])
    return list(zip(tables.first_symbols.tolist(), (row.tolist() for row in rows), strict=True))


def check_reference(pushes, expected):
    plain = [(s.tolist(), t.tables_of(i).tolist(), plain_tables(t)) for s, i, t in pushes]
    assert REFERENCE["encode"](plain) == expected
    assert REFERENCE["decode"](expected, [push[1:] for push in plain]) == [s for s, _, _ in plain]


def named(kind):
    return pytest.mark.parametrize("vector", CODER[kind], ids=lambda vector: vector["name"])


@named("vector")
def test_vector_is_met_by_the_coder_and_by_the_reference(vector):
    expected = bytes.fromhex(vector["bytes"])
    check_both_ways(pushes_of(vector), expected)
    check_reference(pushes_of(vector), expected)


@named("generated")
def test_generated_vector_is_met_by_the_coder_and_by_the_reference(vector):
    push = generate(vector)
    writer = SymbolWriter()
    writer.push(*push)
    payload = writer.finish()
    assert len(payload) == vector["length_bytes"]
    assert hashlib.sha256(payload).hexdigest() == vector["sha256"]
    check_both_ways([push], payload)
    check_reference([push], payload)


@named("negative")
def test_negative_vector_ends_in_its_named_error(vector):
    def read():
        reader = SymbolReader(bytes.fromhex(vector["bytes"]))
        for pull in vector["pulls"]:
            reader.pull(np.array(pull["table_index"], np.int32), TABLES[pull["tables"]])
        reader.finish()

    with pytest.raises(errors.BitstreamError) as caught:
        read()
    assert type(caught.value).__name__ == vector["error"]
    assert "\n" not in str(caught.value)


def test_no_vector_was_lost():
    assert {kind: len(CODER[kind]) for kind in NUM_VECTORS} == NUM_VECTORS
