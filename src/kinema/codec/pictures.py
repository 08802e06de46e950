"""Frames of the video room as tensors of the models, and back; the hash of a picture."""

import zlib
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from kinema.models.intra import STRIDE
from kinema.parts.planes import pack_planes, pad_plane, to_samples, unpack_planes
from kinema.video.frame import Frame, Plane

Planes: TypeAlias = tuple[Plane, Plane, Plane]  # Y, U, V


def to_tensor(frames: Sequence[Frame], device: torch.device) -> Tensor:
    """Stack frames of one size, padded: (B, 96, h, w) picture units."""
    planes = []
    for index, multiple in enumerate((STRIDE, STRIDE // 2, STRIDE // 2)):
        stacked = np.stack([frame.planes[index] for frame in frames])[:, None]
        plane = torch.from_numpy(stacked).to(device).float()
        planes.append(pad_plane(plane, multiple))
    return pack_planes(*planes).contiguous(memory_format=torch.channels_last)


def latent_size(width: int, height: int) -> tuple[int, int]:
    """Rows and columns of the latent of a picture."""
    return -(-height // STRIDE), -(-width // STRIDE)


def to_planes(x_hat: Tensor, width: int, height: int) -> list[Planes]:
    """Round, crop and split: one (Y, U, V) of uint8 arrays per picture."""
    y, u, v = (to_samples(plane)[:, 0].cpu().numpy() for plane in unpack_planes(x_hat))
    rows, columns = (height + 1) // 2, (width + 1) // 2
    return [
        (
            np.ascontiguousarray(y[b, :height, :width]),
            np.ascontiguousarray(u[b, :rows, :columns]),
            np.ascontiguousarray(v[b, :rows, :columns]),
        )
        for b in range(len(y))
    ]


def picture_hash(planes: Planes) -> int:
    """CRC-32 of Y, U and V, row by row."""
    value = 0
    for plane in planes:
        value = zlib.crc32(np.ascontiguousarray(plane).data, value)
    return value
