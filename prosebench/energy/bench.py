"""How fast each way to the energy is, with OpenMM's CPU platform on one thread as the yardstick.

Absolute times change from machine to machine and with what else runs there; ratios taken within one run hold. So all
engines take turns, round after round, and a ratio is the median over rounds of ratios within a round.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import openmm
from numpy.typing import NDArray

from prosebench.energy.batched import BatchedEnergy
from prosebench.energy.native import NativeUnavailable
from prosebench.energy.openmm import OpenMMEnergy
from prosebench.energy.target import LangevinSettings, PhaseState, Target

if TYPE_CHECKING:
    from prosebench.peptide import Peptide

YARDSTICK = "openmm-cpu"
QUANTITIES = ("energy", "energy and gradient", "MD step")
BATCHES = {"native": 1024, "torch": 256, YARDSTICK: 32, "openmm-reference": 4}
"""Frames or replicas per call, so that a call of any engine takes some 10 to 100 ms; OpenMM takes them one by one."""

MD_STEPS = 10


@dataclass(frozen=True)
class _Task:
    """One engine's way to one quantity: call `run` and it does `work` frames or steps."""

    engine: str
    threads: int
    quantity: str
    work: int
    run: Callable[[], object]

    def seconds(self) -> float:
        """Wall time per frame or step."""
        start = time.perf_counter()
        self.run()
        return (time.perf_counter() - start) / self.work


def bench_energy(
    peptides: tuple[str, ...] = ("AA", "ARIP", "ISKCKNGE"),
    threads: tuple[int, ...] = (1, 2),
    *,
    rounds: int = 7,
) -> list[dict[str, str | int | float]]:
    """Time energy, energy with gradient and MD step of every engine on every peptide.

    Each row: peptide, atoms, quantity, engine (openmm-cpu, openmm-reference, native, torch), threads, microseconds per
    frame or replica step (median over rounds), ratio (speed relative to openmm-cpu on one thread). OpenMM runs on
    one thread. The native engine is left out where it is not built.
    """
    from prosebench.peptide import (
        Peptide,
    )  # peptides know targets' force fields; only this function needs peptides

    return [row for name in peptides for row in _bench(Peptide.from_sequence(name), threads, rounds)]


def _bench(peptide: "Peptide", threads: tuple[int, ...], rounds: int) -> list[dict[str, str | int | float]]:
    tasks = _tasks(peptide, threads)
    for task in tasks:
        task.run()
    seconds = np.array([[task.seconds() for task in tasks] for _ in range(rounds)])
    rows = []
    for column, task in enumerate(tasks):
        yardstick = next(
            k for k, t in enumerate(tasks) if t.engine == YARDSTICK and t.quantity == task.quantity
        )
        ratios = seconds[:, yardstick] / seconds[:, column]
        rows.append(
            {
                "peptide": peptide.sequence,
                "atoms": peptide.n_atoms,
                "quantity": task.quantity,
                "engine": task.engine,
                "threads": task.threads,
                "microseconds": float(np.median(seconds[:, column])) * 1e6,
                "ratio": float(np.median(ratios)),
            }
        )
    return rows


def _tasks(peptide: "Peptide", threads: tuple[int, ...]) -> list[_Task]:
    """All tasks, ordered so that engines to be compared on a quantity run one after the other."""
    engines: list[tuple[str, int, Target]] = [
        (YARDSTICK, 1, OpenMMEnergy(peptide, threads=1)),
        ("openmm-reference", 1, OpenMMEnergy(peptide, platform="Reference")),
    ]
    for count in threads:
        try:
            engines.append(("native", count, BatchedEnergy(peptide, path="native", threads=count)))
        except NativeUnavailable:
            break
    engines += [("torch", count, BatchedEnergy(peptide, path="torch", threads=count)) for count in threads]
    frames = _frames(peptide, engines[-1][2] if engines[2][0] == "torch" else engines[2][2])
    tasks = []
    for quantity in QUANTITIES:
        for engine, count, target in engines:
            batch = frames[np.arange(BATCHES[engine]) % len(frames)]
            work, run = _work(peptide, engine, target, quantity, batch)
            tasks.append(_Task(engine, count, quantity, work, run))
    return tasks


def _work(
    peptide: "Peptide", engine: str, target: Target, quantity: str, batch: NDArray[np.float64]
) -> tuple[int, Callable[[], object]]:
    if quantity == "energy":
        return len(batch), lambda: target.energy(batch)
    if quantity == "energy and gradient":
        return len(batch), lambda: target.energy_and_gradient(batch)
    if engine.startswith("openmm"):
        platform = "CPU" if engine == YARDSTICK else "Reference"
        integrator = _openmm_integrator(peptide, platform, batch[0])
        return len(batch), lambda: integrator[0].step(len(batch))
    state = PhaseState(batch, np.zeros_like(batch))
    nothing = np.array([], dtype=np.int64)
    return len(batch) * MD_STEPS, lambda: target.langevin(state, MD_STEPS, LangevinSettings(), 1, 0, nothing)


def _openmm_integrator(
    peptide: "Peptide", platform: str, frame: NDArray[np.float64]
) -> tuple[openmm.LangevinMiddleIntegrator, openmm.Context]:
    """A running simulation on one thread, with its context, which must live as long."""
    settings = LangevinSettings()
    integrator = openmm.LangevinMiddleIntegrator(
        settings.temperature_kelvin, settings.friction_per_ps, settings.time_step_fs / 1000
    )
    properties = {"Threads": "1"} if platform == "CPU" else {}
    context = openmm.Context(
        peptide.system(), integrator, openmm.Platform.getPlatformByName(platform), properties
    )
    context.setPositions(frame)
    context.setVelocitiesToTemperature(settings.temperature_kelvin, 1)
    return integrator, context


def _frames(peptide: "Peptide", target: Target) -> NDArray[np.float64]:
    """Frames (64, atoms, 3) of different replicas after half a picosecond."""
    start = np.repeat(peptide.start_nm[None], 64, axis=0)
    state = PhaseState(start, np.zeros_like(start))
    result = target.langevin(
        state, 500, LangevinSettings(friction_per_ps=5.0), 7, 0, np.array([500], dtype=np.int64)
    )
    return result.frames_nm[-1].astype(np.float64)
