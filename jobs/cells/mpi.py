"""Several ranks over MPI (mpi4py): one exchange of values is all that passes between them.

Every exchange is of the same kind, so ranks that went apart find out instead of waiting for each other: a rank that
ends, for whatever reason, says so in the exchange that the others are waiting in.
"""

import hashlib
import os
import pickle
import time
from typing import Any

import numpy as np

from jobs.cells.signals import note, stop_asked
from prosebench.flows.gpus import VISIBLE, bind_gpu
from prosebench.method import Chunk
from prosebench.ranks import Ranks

REMEDY = (
    "install mpi4py and an MPI that fits it: pip install 'prosebench[cluster]', and `module load` your site's MPI "
    "or pip install mpich"
)


_SPIN_SECONDS, _PAUSE_SECONDS = 0.0005, 0.0002


class RanksUnavailable(ValueError):
    """A cell cannot be spread over so many ranks here; the message says why and what to do."""


class RankFailed(RuntimeError):
    """Another rank of this cell ended with an error; the message holds it."""


class RanksApart(RuntimeError):
    """Ranks that should have the same numbers do not."""


class Dismissed(Exception):
    """The first rank has ended the cell: nothing is left to do here."""


class MPIRanks(Ranks):
    """The ranks of MPI's world. Raises RanksUnavailable where they are not as many as were asked for."""

    def __init__(self, asked: int) -> None:
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:
            raise RanksUnavailable(
                f"{asked} ranks were asked for, but MPI cannot be used ({error}); {REMEDY}"
            ) from error
        self._world = MPI.COMM_WORLD
        self.rank, self.size = self._world.rank, self._world.size
        if self.size != asked:
            raise RanksUnavailable(
                f"{asked} ranks were asked for, but the launcher started a world of {self.size}: it belongs to another "
                "MPI than mpi4py was built for. Use the mpirun of that MPI, or with srun the --mpi that it needs "
                "(`srun --mpi=list`), as mpi_launcher of the cluster profile"
            )
        self._local = self._world.Split_type(MPI.COMM_TYPE_SHARED)
        self._ended = False

    def gather(self, value: Any) -> list[Any]:
        """See `Ranks.gather`. Raises RankFailed or Dismissed where another rank has ended instead."""
        said = self._exchange(("value", value))
        self._ended = any(kind == "end" for kind, _ in said)
        if not self._ended:
            return [value for _, value in said]
        if said[0][0] == "end":
            raise Dismissed
        rank, reason = next((rank, reason) for rank, (kind, reason) in enumerate(said) if kind == "end")
        raise RankFailed(f"rank {rank} of {self.size} ended: {reason or 'it had nothing more to do'}")

    def end(self, reason: str = "") -> None:
        """Tell the others that this rank takes no part any more; nobody waits for it then."""
        if not self._ended:
            self._ended = True
            self._exchange(("end", reason))

    def _exchange(self, message: tuple[str, Any]) -> list[tuple[str, Any]]:
        mine = pickle.dumps(message, protocol=5)
        lengths = np.empty(self.size, dtype=np.int64)
        _wait(self._world.Iallgather(np.array([len(mine)], dtype=np.int64), lengths))
        everything = np.empty(lengths.sum(), dtype=np.uint8)
        _wait(self._world.Iallgatherv(np.frombuffer(mine, dtype=np.uint8), [everything, lengths.tolist()]))
        ends = np.cumsum(lengths)
        return [
            pickle.loads(everything[end - length : end].data)
            for length, end in zip(lengths, ends, strict=True)
        ]

    def bind_gpu(self) -> None:
        """Leave one GPU of the node visible, another one for each rank on it as far as they go; before torch looks."""
        # Where the launcher gave each rank GPUs of its own, the ranks of a node see different ones already.
        if len(set(self._local.allgather(os.environ.get(VISIBLE)))) == 1:
            bind_gpu(self._local.rank)


def _wait(request: Any) -> None:
    """Wait until a request is done. MPI's own wait would keep a core busy, which another rank may need."""
    begun = time.monotonic()
    while not request.Test():
        if time.monotonic() - begun > _SPIN_SECONDS:
            time.sleep(_PAUSE_SECONDS)


def agree(ranks: Ranks, chunk: Chunk) -> bool:
    """Make sure that several ranks have the same chunk; whether one of them was asked to stop, and so all are.

    One rank alone agrees, and asks itself. Raises RanksApart.
    """
    if ranks.size == 1:
        return False
    said = ranks.gather((_digest(chunk), stop_asked()))
    different = [rank for rank, (digest, _) in enumerate(said) if digest != said[0][0]]
    if different:
        raise RanksApart(
            f"ranks {different} computed another chunk than rank 0, so nothing was stored: are their CPUs or GPUs of "
            "different kinds? Ask for one kind (`constraint` of the cluster profile)"
        )
    signals = [signal for _, signal in said if signal]
    if signals:
        note(signals[0])
    return bool(signals)


def _digest(chunk: Chunk) -> str:
    arrays = {f"carry.{name}": array for name, array in chunk.carry.items()}
    if chunk.ensemble is not None:
        arrays |= chunk.ensemble.arrays()
    digest = hashlib.sha256(repr((chunk.done, sorted(arrays))).encode())
    for name in sorted(arrays):
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()
