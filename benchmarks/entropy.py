"""Print the speed of the entropy coder on symbols like those of a 416x240 frame.

Usage: python benchmarks/entropy.py [symbols per group]
"""

import sys
import time

import numpy as np

from kinema.entropy.symbols import SymbolReader, SymbolWriter
from kinema.entropy.tables import TableSet, laplace_tables, pmf_tables

NUM_SCALES, NUM_FRACTIONS = 64, 16
SCALES = np.geomspace(0.05, 128, NUM_SCALES)


def make_frame(rng, num_symbols, mean_level):
    """Draw a hyper group and four groups of latents: half near zero, half spread out."""
    laplace = laplace_tables(SCALES.tolist(), NUM_FRACTIONS)
    ramp = np.exp(-np.abs(np.arange(-20, 21)) / np.linspace(0.3, 4, 64)[:, None])
    hyper = pmf_tables(list(ramp / ramp.sum(axis=1, keepdims=True)), [-20] * 64)
    channel = np.repeat(np.arange(64), max(num_symbols // 1000, 1) * 4)
    groups = [(rng.integers(-2, 3, channel.size), channel, hyper)]
    for _ in range(4):
        level = np.clip(rng.laplace(mean_level, 9, num_symbols), 0, NUM_SCALES - 1).astype(int)
        level[rng.random(num_symbols) < 0.5] = 3
        fraction = rng.integers(0, NUM_FRACTIONS, num_symbols)
        symbols = np.rint(rng.normal(fraction / NUM_FRACTIONS, SCALES[level])).astype(np.int32)
        index = (level * NUM_FRACTIONS + fraction).astype(np.int32)
        groups.append((symbols.astype(np.int32), index, laplace))
    return groups


def write(groups):
    writer = SymbolWriter()
    for group in groups:
        writer.push(*group)
    return writer.finish()


def read(payload, groups):
    reader = SymbolReader(payload)
    symbols = [reader.pull(index, tables) for _, index, tables in groups]
    reader.finish()
    return symbols


def best_seconds(call, repeats=30):
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds), sorted(seconds)[repeats // 2]


def report(name, groups):
    payload = write(groups)
    for (symbols, _, _), decoded in zip(groups, read(payload, groups), strict=True):
        if not np.array_equal(symbols, decoded):
            raise SystemExit(f"{name}: round trip failed")
    count = sum(symbols.size for symbols, _, _ in groups)
    runs = sum(len(np.unique(tables.lookup[index])) for _, index, tables in groups)
    bits = sum(float(t.bits(s, i).sum(dtype=np.float64)) for s, i, t in groups)
    print(f"{name}: {count} symbols, {runs} runs, {len(payload)} bytes, {bits / 8:.1f} estimated")
    for verb, call in (("write", lambda: write(groups)), ("read", lambda: read(payload, groups))):
        best, median = best_seconds(call)
        times = f"best {best * 1e3:5.2f} ms, median {median * 1e3:5.2f} ms"
        print(f"    {verb:5} {times}, {count / median / 1e6:5.1f} M symbols/s")


def describe(tables: TableSet):
    start = time.perf_counter()
    _ = tables.models
    milliseconds = (time.perf_counter() - start) * 1e3
    size = f"{len(tables.sizes)} tables, {tables.frequencies.nbytes / 1e3:.0f} kB"
    print(f"{tables.num_indices} indices, {size}, models built in {milliseconds:.1f} ms")


if __name__ == "__main__":
    per_group = int(sys.argv[1]) if len(sys.argv) > 1 else 25_000
    rng = np.random.default_rng(1)
    describe(laplace_tables(SCALES.tolist(), NUM_FRACTIONS))
    for name, mean_level in (("low rate", 8), ("middle rate", 20), ("high rate", 32)):
        report(name, make_frame(rng, per_group, mean_level))
