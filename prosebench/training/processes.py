"""The processes that train together, as torchrun starts them; one process where it did not."""

import os
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from prosebench.flows.device import choose_device, is_gpu

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """This process among `world`; device is where it computes."""

    rank: int = 0
    world: int = 1
    device: str = "cpu"

    @classmethod
    def from_environment(cls) -> "Processes":
        """This process from the variables that torchrun sets. It joins the others (NCCL on GPUs, Gloo on
        CPUs)."""
        cuda = is_gpu(choose_device())
        device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if cuda else "cpu"
        if cuda:
            torch.cuda.set_device(device)
        if "WORLD_SIZE" not in os.environ:
            return cls(device=device)
        if not dist.is_initialized():
            dist.init_process_group("nccl" if cuda else "gloo")
        return cls(dist.get_rank(), dist.get_world_size(), device)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """A module whose gradients are means over all processes."""
        return module if self.world == 1 else DistributedDataParallel(module, broadcast_buffers=False)

    def mean(self, value: float) -> float:
        """The mean of a number over all processes."""
        if self.world == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return float(total) / self.world

    def any(self, value: bool) -> bool:
        """Whether the condition holds in any process."""
        return self.mean(float(value)) > 0.0

    def gather(self, value: T) -> list[T]:
        """The values of all processes, in the order of their ranks."""
        if self.world == 1:
            return [value]
        values: list[T | None] = [None] * self.world
        dist.all_gather_object(values, value)
        return [one for one in values if one is not None]

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.world > 1:
            dist.barrier()

    def leave(self) -> None:
        """Part from the others, all at once: one that left early would take the meeting place of the rest along."""
        if self.world > 1:
            dist.barrier()
            dist.destroy_process_group()
