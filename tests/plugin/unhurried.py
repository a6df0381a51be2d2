"""Methods of another package, as a user's would be: MD that rests between chunks, so that tests can disturb it.

How fast a machine computes then decides nothing.
"""

import os
import time
from dataclasses import replace

from baselines.md import MD
from baselines.md_replicas import MDReplicas
from prosebench.method import Carry, Chunk, Run

REST = "UNHURRIED_SECONDS"
"""Name of the environment variable that says how long to rest; the numbers do not depend on it."""


class Unhurried(MDReplicas):
    """MDReplicas, at leisure."""

    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        """The same chunk, later."""
        _rest()
        return super().chunk(run, index, carry)


class WhichGpu(MDReplicas):
    """MDReplicas that says which GPU its process sees, at leisure."""

    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        """The same chunk, later."""
        _rest()
        gpu = float(os.environ.get("CUDA_VISIBLE_DEVICES", "-1"))
        return replace(super().chunk(run, index, carry), diagnostics={"gpu": gpu})


class UnhurriedMD(MD):
    """MD, at leisure."""

    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        """The same chunk, later."""
        _rest()
        return super().chunk(run, index, carry)


def _rest() -> None:
    time.sleep(float(os.environ.get(REST, "0")))
