"""One of the processes of `prosebench.check.node`'s sum: `torchrun ... -m prosebench.check.all_reduce BACKEND`."""

import os
import sys

import torch
import torch.distributed as dist


def main(backend: str) -> int:
    """Sum the ranks' numbers over all processes. Returns 0 where the sum is right."""
    device = f"cuda:{os.environ['LOCAL_RANK']}" if backend == "nccl" else "cpu"
    if backend == "nccl":
        torch.cuda.set_device(device)
    dist.init_process_group(backend)
    world = dist.get_world_size()
    value = torch.full((1024,), float(dist.get_rank() + 1), device=device)
    dist.all_reduce(value)
    right = bool((value == world * (world + 1) / 2).all())
    dist.destroy_process_group()
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
