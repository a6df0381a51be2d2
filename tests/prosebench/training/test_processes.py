"""Processes that train together: means, any and gathering over two of them, and one that is alone."""

import multiprocessing
import os
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

from prosebench.training.processes import Processes


def work(rank: int, meeting: Path, pipe: Connection) -> None:
    """Be one of two processes, and tell what it finds."""
    torch.set_num_threads(1)
    os.environ |= {"WORLD_SIZE": "2", "PROSEBENCH_DEVICE": "cpu"}
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    mine = Processes.from_environment()
    module = nn.Linear(2, 1, bias=False)
    nn.init.ones_(module.weight)
    wrapped = mine.wrap(module)
    wrapped(torch.full((1, 2), float(rank + 1))).sum().backward()
    assert module.weight.grad is not None
    found = {
        "rank": (mine.rank, mine.world, mine.first),
        "mean": mine.mean(float(rank)),
        "any": (mine.any(rank == 1), mine.any(False)),
        "gathered": mine.gather({"rank": rank}),
        "gradient": module.weight.grad.tolist(),
    }
    mine.wait()
    mine.leave()
    pipe.send(found)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_two_processes_see_each_other(tmp_path: Path) -> None:
    # Forked, since torch takes seconds to load.
    context = multiprocessing.get_context("fork")
    ends = [context.Pipe(duplex=False) for _ in range(2)]
    processes = [
        context.Process(target=work, args=(rank, tmp_path / "meeting", there), daemon=True)
        for rank, (_, there) in enumerate(ends)
    ]
    for process in processes:
        process.start()
    found: list[dict[str, Any]] = []
    for here, _ in ends:
        assert here.poll(60)
        found.append(here.recv())
    for process in processes:
        process.join(20)
    assert [one["rank"] for one in found] == [(0, 2, True), (1, 2, False)]
    for one in found:
        assert one["mean"] == 0.5
        assert one["any"] == (True, False)
        assert one["gathered"] == [{"rank": 0}, {"rank": 1}]
        # The mean of gradients 1 and 2.
        assert one["gradient"] == [[1.5, 1.5]]


def test_one_alone_needs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "RANK", "CUDA_VISIBLE_DEVICES", "SLURM_JOB_GPUS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PROSEBENCH_DEVICE", "cpu")
    alone = Processes.from_environment()
    assert alone == Processes(0, 1, "cpu")
    assert alone.first
    assert (alone.mean(3.0), alone.any(False), alone.any(True)) == (3.0, False, True)
    assert alone.gather("x") == ["x"]
    module = nn.Linear(1, 1)
    assert alone.wrap(module) is module
    alone.wait()
    alone.leave()
    assert not dist.is_initialized()
