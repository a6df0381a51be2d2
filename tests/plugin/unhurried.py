"""A method of another package, as a user's would be: replicas that rest between chunks, so that tests can disturb them.

How fast a machine computes then decides nothing.
"""

import os
import time

from baselines.md_replicas import MDReplicas
from prosebench.method import Carry, Chunk, Run

REST = "UNHURRIED_SECONDS"
"""Name of the environment variable that says how long to rest; the numbers do not depend on it."""


class Unhurried(MDReplicas):
    """MDReplicas, at leisure."""

    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        """The same chunk, later."""
        time.sleep(float(os.environ.get(REST, "0")))
        return super().chunk(run, index, carry)
