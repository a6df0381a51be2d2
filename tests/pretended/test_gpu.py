"""The pretended GPU refuses and counts what a real one would, and its graphs do what was recorded."""

from collections.abc import Callable

import pytest
import torch

from tests.pretended.gpu import DeviceError, PretendedGpu

WRONG: dict[str, Callable[[torch.Tensor, torch.Tensor], object]] = {
    "sum": lambda there, here: there + here,
    "numpy": lambda there, here: there.numpy(),
    "index": lambda there, here: here[there.long()],
    "cat": lambda there, here: torch.cat([there, here]),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cuda_refuses_is_refused(what: str) -> None:
    with PretendedGpu():
        there, here = torch.ones(3, device="cuda"), torch.ones(3)
        with pytest.raises(DeviceError):
            WRONG[what](there, here)


def test_sides_are_kept_apart_and_waits_and_copies_counted() -> None:
    with PretendedGpu() as gpu:
        there = torch.ones(3).to("cuda")
        assert there.device == torch.device("cuda", 0)
        assert there.is_cuda
        assert (there + torch.tensor(1.0)).cpu().numpy().tolist() == [2.0] * 3
        assert (gpu.waits.total(), gpu.uploads.total()) == (1, 1)
        assert not torch.ones(3).is_cuda
        bool((there > 0).all())
        there[there > 2]
        assert gpu.waits.total() == 3


def test_a_graph_does_again_what_was_recorded_with_new_numbers() -> None:
    with PretendedGpu():
        x, total = torch.ones(2, 2, device="cuda"), torch.zeros(2, device="cuda")
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = (x @ x).relu()
            total += y.sum(dim=1)
        assert total.cpu().tolist() == [0.0, 0.0]
        x.copy_(2 * torch.eye(2))
        graph.replay()
        graph.replay()
        assert y.cpu().tolist() == [[4.0, 0.0], [0.0, 4.0]]
        assert total.cpu().tolist() == [8.0, 8.0]


def test_while_a_graph_is_recorded_the_host_may_not_look() -> None:
    with PretendedGpu():
        x = torch.ones(2, device="cuda")
        with (
            pytest.raises(DeviceError, match="while a graph is recorded"),
            torch.cuda.graph(torch.cuda.CUDAGraph()),
        ):
            float(x.sum())
