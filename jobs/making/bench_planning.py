"""How long a plan of many cells takes: the first, a second one where all are there, and a look at their states."""

import math
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jobs.cells.plan import lay_out, plan_cells, set_foreign_aside
from jobs.cells.status import read_states
from jobs.making.bench import Row, scratch
from prosebench.record import cell_folders
from prosebench.suite import Suite


def bench_planning(suite: Suite, directory: Path, *, number: int = 10_000) -> list[Row]:
    """Time the steps of planning `number` cells of a suite, with as many seeds as that takes, in a folder of its own.

    The folder, which is removed again, is on the disk of `directory`: most of the time is that of its flushes. Each
    row: step, cells, seconds (wall), cpu_seconds, cells_per_second. Raises ValueError where there is nothing to plan.
    """
    if number < 1:
        raise ValueError(f"nothing to plan: {number} cells; give one at least")
    a_seed = len(plan_cells(suite.model_copy(update={"seeds": (0,)})))
    many = suite.model_copy(update={"seeds": tuple(range(math.ceil(number / a_seed)))})
    cells = plan_cells(many)[:number]
    with scratch(directory) as name:
        folder = Path(name)
        steps: dict[str, Callable[[], object]] = {
            "cells of the suite": lambda: plan_cells(many),
            "their folders, none there": lambda: lay_out(cells, folder),
            "look for damage": lambda: set_foreign_aside(folder),
            "their folders, all there": lambda: lay_out(cells, folder),
            "their states": lambda: read_states(folder),
        }
        rows = [_timed(step, run, number) for step, run in steps.items()]
        # One after the other, ten thousand folders take a minute or two to go.
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(shutil.rmtree, cell_folders(folder)))
        return rows


def _timed(step: str, run: Callable[[], object], number: int) -> Row:
    wall, busy = time.perf_counter(), time.process_time()
    run()
    wall, busy = time.perf_counter() - wall, time.process_time() - busy
    return {
        "step": step,
        "cells": number,
        "seconds": wall,
        "cpu_seconds": busy,
        "cells_per_second": number / wall,
    }
