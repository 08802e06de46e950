"""Two processes train as one; the trainer needs neither PyAV nor the entropy coder."""

import os
import re
import socket
import subprocess
import sys

import pytest
import torch

from kinema.train.group import Group

COMMON = """
import sys, torch
from pathlib import Path
from kinema.models.intra import IntraCodec, IntraConfig
from kinema.parts.priors import PriorConfig
from kinema.parts.transforms import TransformConfig
from kinema.train.loop import TrainConfig, Trainer
from kinema.train.objectives import intra_objective
from kinema.train.recipes import RECIPES, Recipe
from kinema.train.stages import Stage

torch.set_num_threads(1)
tiny = IntraConfig(
    transform=TransformConfig(
        latent_channels=8, fine_channels=8, coarse_channels=8, analysis_fine_blocks=1,
        analysis_coarse_blocks=1, synthesis_fine_blocks=1, synthesis_coarse_blocks=1,
    ),
    prior=PriorConfig(latent_channels=8, hyper_channels=4, prior_channels=8),
)
stage = Stage(name="any", steps=2, batch=1, crop=64, lr=1e-3, final_lr=1e-3, warmup=1,
              autocast=False)
RECIPES["tiny"] = Recipe((stage,), lambda: IntraCodec(tiny), lambda *_: None, intra_objective)
material, run_dir = map(Path, sys.argv[1:3])
config = TrainConfig(recipe="tiny", data=(material,), run_dir=run_dir)
"""
BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("av", "constriction", "cv2"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
"""
BLOCKED_END = """
state = Trainer(config).run()
assert state.stage == 1
assert not {"av", "constriction", "cv2"} & set(sys.modules)
"""
TOGETHER_END = """
trainer = Trainer(config)
group = trainer.group
begin = sum(float(p.double().sum()) for p in trainer.model.parameters())
chance = (int(trainer.random.integers(2**40)), int(torch.randint(2**40, ())))
parameter = torch.nn.Parameter(torch.zeros(3))
silent = torch.nn.Parameter(torch.zeros(2))
parameter.grad = torch.tensor([1.0, 2.0, 3.0]) * (group.rank + 1)
group.average_gradients([silent, parameter])
assert parameter.grad.tolist() == [1.5, 3.0, 4.5] and silent.grad is None
assert group.agree(wish=group.rank == 1) and not group.agree(wish=False)
trainer.run()
end = sum(float(p.double().sum()) for p in trainer.model.parameters())
again = Trainer(TrainConfig(recipe="tiny", data=(material,), run_dir=run_dir, resume=True))
later = (int(again.random.integers(2**40)), int(torch.randint(2**40, ())))
print("RESULT", group.rank, repr(begin), repr(end), *chance, *later, flush=True)
torch.distributed.destroy_process_group()
"""


def start(code, *arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    try:
        output, _ = process.communicate(timeout=180)
    finally:
        process.kill()
    assert process.returncode == 0, output
    return output


def test_training_needs_neither_pyav_nor_the_entropy_coder(trainer, material, tmp_path):
    trainer("first")  # which decodes the material
    finish(start(BLOCKED + COMMON + BLOCKED_END, material, tmp_path / "runs" / "second"))


def test_two_processes_train_one_model(material, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    processes = [
        start(
            COMMON + TOGETHER_END,
            material,
            tmp_path / "runs" / "two",
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE="2",
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=port,
        )
        for rank in range(2)
    ]
    results = [re.search(r"RESULT (.*)", finish(process))[1].split() for process in processes]
    first, second = results
    assert (first[0], second[0]) == ("0", "1")
    assert first[1:3] == second[1:3]  # the same parameters, before and after
    assert first[1] != first[2]
    for own, other in zip(first[3:], second[3:], strict=True):  # other crops, other noise
        assert own != other
    assert (tmp_path / "runs" / "two" / "last.pt").is_file()


def test_one_process_is_a_group_of_its_own():
    group = Group.join()
    assert group.is_first
    assert (group.rank, group.local_rank, group.size) == (0, 0, 1)
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.ones(2)
    group.average_gradients([parameter])
    assert parameter.grad.tolist() == [1, 1]
    assert group.agree(wish=True)
    with group.first_on_machine():
        assert not group.agree(wish=False)


def test_rank_over_all_machines_decides_who_saves(monkeypatch):
    for name, value in (("RANK", "5"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "8")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    group = Group.join()
    assert (group.rank, group.local_rank, group.size) == (5, 0, 8)
    assert not group.is_first


def test_gpu_is_that_of_the_rank_on_its_machine(monkeypatch):
    chosen = []
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert Group.join().device == torch.device("cuda", 1)
    assert chosen == [torch.device("cuda", 1)]


@pytest.mark.parametrize("wish", [False, True])
def test_agreeing_alone_is_wishing(wish):
    assert Group.join().agree(wish=wish) is wish


@pytest.mark.parametrize(
    ("device", "able", "expected"),
    [
        ("cpu", {"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ("cpu", {"avx512_f": True, "avx512_bf16": True, "amx_bf16": False}, True),
        ("cpu", {"avx2": True, "amx_bf16": True}, True),
        ("cuda", {"avx2": True}, True),
    ],
)
def test_bfloat16_is_for_processors_made_for_it(monkeypatch, device, able, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    group = Group(rank=0, local_rank=0, size=1, device=torch.device(device))
    assert group.has_bfloat16 is expected
