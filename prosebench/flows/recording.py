"""Work on a GPU that is launched once and repeated as a whole: CUDA graphs.

A flow draws an atom after the other by thousands of small kernels; to launch each takes the host longer than the GPU
needs for it. Recorded, they run one after the other without the host.
"""

from collections.abc import Callable, Sequence

import torch


class Recording:
    """Stages of work, done in this order, on arrays that stay in one place; no stage may look at the numbers
    in them.

    The first run launches everything as it comes, which also lets libraries make what they need before anything can be
    recorded. The second one records each stage as a graph; from then on they are repeated. Numbers are the same.
    """

    def __init__(self, stages: Sequence[Callable[[], None]]) -> None:
        self._stages, self._runs = stages, 0
        self._graphs: list[torch.cuda.CUDAGraph] = []

    def run(self) -> None:
        """Do the work on what is in the arrays now."""
        self._runs += 1
        if self._runs == 1:
            for stage in self._stages:
                stage()
            return
        if not self._graphs:
            self._record()
        for graph in self._graphs:
            graph.replay()

    def _record(self) -> None:
        for stage in self._stages:
            graph = torch.cuda.CUDAGraph()
            # Stages run one after the other, so they may share their memory.
            pool = self._graphs[0].pool() if self._graphs else None
            with torch.cuda.graph(graph, pool=pool):
                stage()
            self._graphs.append(graph)
