"""Several processes that train one model: what torchrun starts, on one machine or on many."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn

PATIENCE = timedelta(days=1)  # the first process may decode a large data set while others wait


@dataclass(frozen=True, kw_only=True)
class Group:
    """This process among all that train together.

    Attributes:
        rank: 0 to size - 1 over all machines; rank 0 saves and reports.
        local_rank: likewise on this machine; chooses the GPU.
        size: number of processes.
        device: where this process trains.
    """

    rank: int
    local_rank: int
    size: int
    device: torch.device

    @classmethod
    def join(cls) -> "Group":
        """Join the group that torchrun's environment describes; without one, stay alone."""
        rank, local_rank, size = (
            int(os.environ.get(name, default))
            for name, default in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1"))
        )
        has_gpu = torch.cuda.is_available()
        device = torch.device("cuda", local_rank) if has_gpu else torch.device("cpu")
        if has_gpu:
            torch.cuda.set_device(device)
        if size > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if has_gpu else "gloo", timeout=PATIENCE)
        return cls(rank=rank, local_rank=local_rank, size=size, device=device)

    @property
    def is_first(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0

    @property
    def has_bfloat16(self) -> bool:
        """Whether bf16 is worth its rounding here: a CPU not made for it is slower than in fp32."""
        if self.device.type != "cpu":
            return True
        able = torch.cpu.get_capabilities()
        return any(able[name] for name in able if name.endswith("bf16"))

    @contextmanager
    def first_on_machine(self) -> Iterator[None]:
        """Run a block on one process per machine first, then on its others."""
        if self.size > 1 and self.local_rank:
            dist.barrier()
        yield
        if self.size > 1 and not self.local_rank:
            dist.barrier()

    def agree(self, *, wish: bool) -> bool:
        """Tell whether any process has the wish, so that all act alike."""
        if self.size == 1:
            return wish
        flag = torch.tensor([float(wish)], device=self.device)
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag.item())

    def average_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Replace every gradient by its mean over all processes."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.size == 1 or not gradients:
            return
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.size
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
