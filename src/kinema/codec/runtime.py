"""The arithmetic that decoding relies on: set up, protected and checked."""

import contextlib
import copy
import ctypes
import sys
from collections.abc import Iterator
from functools import cache

import torch
import torch.nn.functional as F

from kinema.errors import ConfigError, NumericProfileError
from kinema.models.frames import VideoModel
from kinema.models.registry import LoadedModel

EXACT_INTEGERS = 1  # numeric profile 1 of docs/BITSTREAM.md
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
_KEEP_BYTES = 1 << 30


def prepare(threads: int | None, device: str) -> torch.device:
    """Choose threads and device, and check that its arithmetic is exact.

    Raises:
        ConfigError: the device is not there.
        NumericProfileError: sums of whole numbers do not come out exact on it.
    """
    if threads is not None:
        if threads < 1:
            raise ConfigError(f"{threads} threads; at least 1 is needed")
        torch.set_num_threads(threads)
    if device not in ("cpu", "cuda"):
        raise ConfigError(f"unknown device {device!r}; known: cpu, cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device cuda: no CUDA device is available")
    _keep_freed_memory()
    chosen = torch.device(device)
    with exact_arithmetic():
        check_exact(chosen)
    return chosen


@contextlib.contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Run without gradients and without any shortcut in precision; restores settings after."""
    precision = torch.get_float32_matmul_precision()
    tf32 = torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        with torch.inference_mode(), _no_autocast():
            yield
    finally:
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = tf32


@contextlib.contextmanager
def _no_autocast() -> Iterator[None]:
    with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        yield


def network_on(model: LoadedModel, device: torch.device) -> VideoModel:
    """Give the model's network on a device; a copy where the model's own is on another.

    Raises:
        ConfigError: the network codes no frames.
    """
    network = model.frozen.network
    if not isinstance(network, VideoModel):
        raise ConfigError(f"found a {type(network).__name__}, expected a network that codes frames")
    if next(network.parameters()).device != device:
        network = copy.deepcopy(network)
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # torch's stubs lack this pair


@cache
def check_exact(device: torch.device) -> None:
    """Add up whole numbers close to 2**24 and compare with integer arithmetic.

    Raises:
        NumericProfileError: they differ, for example because a setting lowers fp32 precision.
    """
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(-2047, 2048, (1, 192, 8, 8), generator=generator)
    weight = torch.randint(-42, 43, (64, 192, 1, 1), generator=generator)
    expected = torch.einsum("oc,bchw->bohw", weight[:, :, 0, 0], x)
    spatial = torch.randint(-910, 911, (192, 1, 3, 3), generator=generator)
    wide = F.pad(x, (1, 1, 1, 1)).unfold(2, 3, 1).unfold(3, 3, 1)
    expected_spatial = (wide * spatial[:, 0][None, :, None, None]).sum((4, 5))
    got = F.conv2d(x.float().to(device), weight.float().to(device))
    got_spatial = F.conv2d(x.float().to(device), spatial.float().to(device), None, 1, 1, 1, 192)
    same = torch.equal(got.cpu().long(), expected)
    if not same or not torch.equal(got_spatial.cpu().long(), expected_spatial):
        raise NumericProfileError(
            f"{device}: sums of whole numbers are not exact; does a setting lower fp32 precision?"
        )


def _keep_freed_memory() -> None:
    """Let glibc reuse large blocks: fresh pages for every tensor cost half the speed."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            libc = ctypes.CDLL(None)
            libc.mallopt(_M_MMAP_THRESHOLD, _KEEP_BYTES)
            libc.mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)
