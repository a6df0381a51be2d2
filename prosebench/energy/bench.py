"""How fast each way to the energy is, with OpenMM's CPU platform on one thread as the yardstick.

Absolute times change from machine to machine and with what else runs there; ratios taken within one run hold.
So all engines take turns, round after round, and a ratio is the median over rounds of ratios within a round.
OpenMM waits for a thread of its own, which a busy machine delays; the ratios are therefore of CPU time, and
those of an engine on several threads are multiplied by what the further threads gain in wall time.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import openmm
from numpy.typing import NDArray

from prosebench.energy import native, warp
from prosebench.energy.batched import BatchedEnergy
from prosebench.energy.openmm import OpenMMEnergy
from prosebench.energy.target import LangevinSettings, PhaseState, Stretch, Target

if TYPE_CHECKING:
    from prosebench.peptide import Peptide

Row = dict[str, str | int | float]

YARDSTICK = "openmm-cpu"
QUANTITIES = ("energy", "energy and gradient", "MD step")
GPU = "gpu"
BATCHES = {"native": 1024, GPU: 16_384, YARDSTICK: 32, "openmm-reference": 4}
"""The number of frames or replicas per call of each engine. OpenMM takes them one by one."""

MD_STEPS = {"native": 10, GPU: 100}
LEAST_SECONDS = 0.05
"""The least duration of a measurement in seconds. Calls are repeated to fill it."""


@dataclass(frozen=True)
class _Task:
    """How one engine computes one quantity: a call of `run` does `work` frames or steps."""

    engine: str
    threads: int
    quantity: str
    work: int
    run: Callable[[], object]

    def measure(self) -> tuple[float, float]:
        """Wall time and CPU time per frame or step, in seconds."""
        self.run()  # fills the caches
        calls, wall, cpu = 0, time.perf_counter(), time.process_time()
        while not calls or time.perf_counter() - wall < LEAST_SECONDS:
            self.run()
            calls += 1
        done = calls * self.work
        return (time.perf_counter() - wall) / done, (time.process_time() - cpu) / done


def bench_energy(
    peptides: tuple[str, ...] = ("AA", "ARIP", "ISKCKNGE"),
    threads: tuple[int, ...] = (1, 2),
    *,
    rounds: int = 7,
) -> list[Row]:
    """Time energy, energy with gradient and MD step of every engine on every peptide.

    Each row: peptide, atoms, quantity, engine (openmm-cpu, openmm-reference, native, gpu), threads,
    microseconds (wall) and cpu_microseconds per frame or replica step (medians over rounds), ratio (speed
    relative to openmm-cpu on one thread; a GPU's wall time stands for its CPU time). OpenMM has one thread; native and
    gpu are left out where they are not to be had.
    """
    from prosebench.peptide import Peptide

    counts = tuple(sorted({1, *threads}))
    return [row for name in peptides for row in _bench(Peptide.from_sequence(name), counts, rounds)]


def bench_batches(
    peptides: tuple[str, ...] = ("AA", "ARIP"),
    batches: tuple[int, ...] = (1, 4, 16, 64, 256, 1024),
    *,
    rounds: int = 3,
) -> list[Row]:
    """Energies with gradients a second of the batched engines on one thread, by the number of frames in a batch.

    A row a measurement: batch, series (engine and peptide), evaluations_per_second, round. Rounds are interleaved.
    Raises NativeUnavailable where there is neither the native kernel nor a GPU.
    """
    from prosebench.peptide import Peptide

    tasks = []
    for peptide in map(Peptide.from_sequence, peptides):
        targets = _batched_engines(peptide, (1,))
        if not targets:
            raise native.NativeUnavailable(str(native.why_unavailable()))
        frames = _frames(peptide, targets[0][2])
        for engine, _, target in targets:
            for batch in sorted(set(batches)):
                work = _work(peptide, engine, target, QUANTITIES[1], _repeated(frames, batch))
                tasks.append((batch, f"{engine} {peptide.sequence}", _Task(engine, 1, QUANTITIES[1], *work)))
    return [
        {"batch": batch, "series": series, "evaluations_per_second": 1.0 / task.measure()[0], "round": turn}
        for turn in range(rounds)
        for batch, series, task in tasks
    ]


def _repeated(frames: NDArray[np.float64], number: int) -> NDArray[np.float64]:
    return frames[np.arange(number) % len(frames)]


def _bench(peptide: "Peptide", threads: tuple[int, ...], rounds: int) -> list[Row]:
    tasks = _tasks(peptide, threads)
    measured = np.array([[task.measure() for task in tasks] for _ in range(rounds)])
    wall, cpu = measured[..., 0], measured[..., 1]

    def column(engine: str, quantity: str) -> int:
        return next(k for k, t in enumerate(tasks) if (t.engine, t.quantity) == (engine, quantity))

    rows: list[Row] = []
    for k, task in enumerate(tasks):
        alone, yardstick = column(task.engine, task.quantity), column(YARDSTICK, task.quantity)
        own = wall if task.engine == GPU else cpu  # a GPU takes no CPU time
        ratios = cpu[:, yardstick] / own[:, alone] * wall[:, alone] / wall[:, k]
        rows.append(
            {
                "peptide": peptide.sequence,
                "atoms": peptide.n_atoms,
                "quantity": task.quantity,
                "engine": task.engine,
                "threads": task.threads,
                "microseconds": float(np.median(wall[:, k])) * 1e6,
                "cpu_microseconds": float(np.median(cpu[:, k])) * 1e6,
                "ratio": float(np.median(ratios)),
            }
        )
    return rows


def _batched_engines(peptide: "Peptide", threads: tuple[int, ...]) -> list[tuple[str, int, Target]]:
    """Our engines that are to be had here, each with its name and threads."""
    engines: list[tuple[str, int, Target]] = []
    if native.available():
        engines += [("native", n, BatchedEnergy(peptide, path="native", threads=n)) for n in threads]
    if warp.why_unavailable() is None:
        engines.append((GPU, 1, BatchedEnergy(peptide, device="cuda")))
    return engines


def _tasks(peptide: "Peptide", threads: tuple[int, ...]) -> list[_Task]:
    engines: list[tuple[str, int, Target]] = [
        (YARDSTICK, 1, OpenMMEnergy(peptide, threads=1)),
        ("openmm-reference", 1, OpenMMEnergy(peptide, platform="Reference")),
        *_batched_engines(peptide, threads),
    ]
    frames = _frames(peptide, engines[-1][2])
    tasks = []
    for quantity in QUANTITIES:
        for engine, count, target in engines:
            batch = _repeated(frames, BATCHES[engine])
            tasks.append(_Task(engine, count, quantity, *_work(peptide, engine, target, quantity, batch)))
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
    n_steps = MD_STEPS[engine]
    return len(batch) * n_steps, lambda: target.langevin(state, Stretch(n_steps, LangevinSettings(), 1))


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
        state, Stretch(500, LangevinSettings(friction_per_ps=5.0), 7, 0, np.array([500], dtype=np.int64))
    )
    return result.frames_nm[-1].astype(np.float64)
