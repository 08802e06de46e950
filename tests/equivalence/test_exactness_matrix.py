"""One file, many kinds of arithmetic, one set of pictures: each decoding in its own process."""

import importlib.util
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STREAMS = ROOT / "conformance" / "streams"
VECTORS = tomllib.loads((ROOT / "conformance" / "vectors.toml").read_text())["stream"]


def load_benchmark():
    """The benchmark that does the work; dataclasses need it among the modules."""
    spec = importlib.util.spec_from_file_location("exactness", ROOT / "benchmarks/exactness.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["exactness"] = module
    spec.loader.exec_module(module)
    return module


EXACTNESS = load_benchmark()


def digests_of(settings, stream="odd"):
    tiny = str(ROOT / "conformance")
    path = STREAMS / f"{stream}.kin"
    return {s: EXACTNESS.decode_apart(path, s, tiny) for s in settings}


def assert_one_digest(found):
    digests = set(found.values())
    assert len(digests) == 1, found
    assert len(digests.pop()) == 32, found


def test_pictures_do_not_depend_on_instructions_threads_layout_or_precision():
    assert_one_digest(digests_of(EXACTNESS.QUICK))


@pytest.mark.slow
@pytest.mark.parametrize("stream", ["dual-odd", "lstvc-odd", "cama-odd"])
def test_nor_do_those_of_p_frames(stream):
    assert_one_digest(digests_of(EXACTNESS.QUICK, stream))


@pytest.mark.slow
@pytest.mark.parametrize("stream", ["odd", "wide", "dual-even"])
def test_pictures_do_not_depend_on_any_setting_of_the_matrix(stream):
    assert_one_digest(digests_of(EXACTNESS.full_matrix(), stream))


def test_fp64_runs_really_compute_in_fp64(monkeypatch):
    """Else half of the matrix would say nothing."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    sys.path.insert(0, str(ROOT / "conformance"))
    try:
        from tiny import load_tiny
    finally:
        sys.path.pop(0)
    network = load_tiny().frozen.network
    seen = set()
    for module in network.synthesis.modules():
        if type(module).__name__ == "GridConv":
            module.register_forward_hook(lambda _m, _inputs, output: seen.add(output.dtype))
    network.synthesise(torch.zeros(1, 24, 2, 2, dtype=torch.float64), torch.tensor([20.0]))
    assert seen == {torch.float64}
