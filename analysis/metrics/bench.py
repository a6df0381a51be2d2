"""How fast scores are: exact W2 beside POT's network simplex on a dense cost matrix, and the score of one record.

Everything is measured in a process of its own with one thread; seconds are CPU seconds. Engines take turns, and a
ratio is the median over rounds of ratios within a round. Points are drawn from states as peptides have them: in a
plane (2 coordinates) or on a torus (others). Frames are of short trajectories at a high temperature.
"""

import math
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeVar

import numpy as np
import ot
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from analysis.metrics.score import score
from analysis.metrics.simplex import cost_matrix
from analysis.wasserstein import Certified, certified_w2
from prosebench import transport
from prosebench.energy import BatchedEnergy
from prosebench.energy.target import LangevinSettings, PhaseState, Stretch
from prosebench.ensemble import Ensemble
from prosebench.peptide import Peptide
from prosebench.reference import Reference, build_reference

Row = dict[str, str | int | float]
Points = NDArray[np.float64]
Result = TypeVar("Result")

N_STATES = 8
WIDTH = 0.4
"""The standard deviation of the points of a state, in rad on a torus or in units of the plane."""


def bench_wasserstein(
    dimensions: tuple[int, ...] = (2, 6, 14), *, frames: int = 10_000, rounds: int = 3
) -> list[Row]:
    """Time W2 between two sets of `frames` points by every engine: dense (POT), native, simplex (POT, few pairs).

    Each row: coordinates, frames, engine, seconds of CPU (median), ratio (speed relative to dense), gap (the
    certificate), distance, peak_gb (of memory). Native is left out where the library is not built.
    """
    engines = ["dense"] + (["native"] if transport.available() else []) + ["simplex"]
    return [row for d in dimensions for row in _rows(d, frames, rounds, engines)]


def _rows(d: int, frames: int, rounds: int, engines: list[str]) -> Iterator[Row]:
    runs: dict[str, list[tuple[float, float, Certified]]] = {engine: [] for engine in engines}
    for number in range(rounds):
        for engine in engines:
            runs[engine].append(_alone(_measure, engine, d, frames, number))
    for engine in engines:
        pairs = zip(runs["dense"], runs[engine], strict=True)
        yield {
            "coordinates": d,
            "frames": frames,
            "engine": engine,
            "seconds": float(np.median([run[0] for run in runs[engine]])),
            "ratio": float(np.median([yard[0] / own[0] for yard, own in pairs])),
            "gap": max(run[2].gap for run in runs[engine]),
            "distance": runs[engine][-1][2].value,
            "peak_gb": max(run[1] for run in runs[engine]),
        }


def _alone(work: Callable[..., Result], *what: object) -> Result:
    """Do it in a process of its own, so that the peak of memory is of this work alone."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, what)


def _measure(
    engine: Literal["dense", "native", "simplex"], d: int, frames: int, seed: int
) -> tuple[float, float, Certified]:
    """CPU seconds, peak memory in GB, distance."""
    x, y = _points(d, frames, seed)
    period = None if d == 2 else math.tau
    with threadpool_limits(1):
        start = time.process_time()
        found = (
            _dense(x, y, period) if engine == "dense" else certified_w2(x, y, period=period, solver=engine)
        )
        seconds = time.process_time() - start
    return seconds, _peak_gb(), found


def _dense(x: Points, y: Points, period: float | None) -> Certified:
    if period is not None:
        x, y = x % period, y % period
    costs = cost_matrix(x, y, period)
    largest = float(costs.max())
    costs /= largest
    shares = (np.full(len(side), 1.0 / len(side)) for side in (x, y))
    cost, log = ot.emd2(*shares, costs, numItermax=1_000_000_000, log=True, center_dual=False)
    bound = float(log["u"].mean() + log["v"].mean())
    return Certified(math.sqrt(cost * largest), max(float(cost) - bound, 0.0) / float(cost))


def _points(d: int, frames: int, seed: int) -> tuple[Points, Points]:
    """Two draws (frames, d) from the same states, with somewhat other populations."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0.0, math.tau, (N_STATES, d))
    sides = []
    for _ in range(2):
        state = rng.choice(N_STATES, frames, p=rng.dirichlet(np.full(N_STATES, 20.0)))
        sides.append(centres[state] + WIDTH * rng.standard_normal((frames, d)))
    return sides[0], sides[1]


def _peak_gb() -> float:
    """Most memory that this process has held, in GB."""
    status = Path("/proc/self/status")
    if status.is_file():
        # On Linux ru_maxrss begins with what the process that started this one held then.
        (kilobytes,) = (line.split()[1] for line in status.read_text().splitlines() if "VmHWM" in line)
        return int(kilobytes) * 1024.0 / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1.0 if sys.platform == "darwin" else 1024.0) / 1e9


N_REPLICAS = 100
STEPS_BETWEEN_FRAMES = 10
HOT_KELVIN = 900.0


def bench_scoring(peptides: tuple[str, ...] = ("ISKCKNGE",), *, frames: int = 10_000) -> list[Row]:
    """Time the score of one record of `frames` frames against as many of a reference.

    Each row: peptide, frames, seconds of CPU for the score, load_seconds for reading both files, peak_gb (of memory)
    and the largest gap of its distances.
    """
    rows: list[Row] = []
    for sequence in peptides:
        with TemporaryDirectory() as scratch:
            _alone(_write_frames, sequence, frames, Path(scratch))
            loading, seconds, peak, gap = _alone(_score_record, frames, Path(scratch))
        rows.append(
            {
                "peptide": sequence,
                "frames": frames,
                "seconds": seconds,
                "load_seconds": loading,
                "gap": gap,
                "peak_gb": peak,
            }
        )
    return rows


def _write_frames(sequence: str, frames: int, folder: Path) -> None:
    """A reference and an ensemble, from different trajectories."""
    peptide = Peptide.from_sequence(sequence)
    kept = math.ceil(3 * frames / N_REPLICAS)
    start = np.repeat(peptide.start_nm[None].astype(np.float64), N_REPLICAS, axis=0)
    found = BatchedEnergy(peptide).langevin(
        PhaseState(start, np.zeros_like(start)),
        Stretch(
            kept * STEPS_BETWEEN_FRAMES,
            LangevinSettings(HOT_KELVIN),
            0,
            0,
            STEPS_BETWEEN_FRAMES * np.arange(1, kept + 1),
        ),
    )
    parts = [
        Ensemble(*both)
        for both in zip(
            *(np.moveaxis(series, 1, 0) for series in (found.frames_nm, found.energies_kt)), strict=True
        )
    ]
    part = (2 * N_REPLICAS) // 3
    reference = build_reference(
        peptide,
        parts[:part],
        frame_interval_ps=STEPS_BETWEEN_FRAMES / 1000.0,
        lag_frames=10,
        n_frames=min(2 * frames, part * kept),
        seed=0,
        source={"kind": "bench"},
        koopman_reweighting=False,
    )
    reference.save(folder / "reference.npz", compress=False)
    rest = parts[part:]
    chosen = np.arange(frames) % (len(rest) * kept)
    Ensemble(
        np.concatenate([one.positions_nm for one in rest])[chosen],
        np.concatenate([one.energies_kt for one in rest])[chosen],
    ).save(folder / "ensemble.npz")


def _score_record(frames: int, folder: Path) -> tuple[float, float, float, float]:
    """CPU seconds to load and to score, peak memory in GB, the largest gap."""
    with threadpool_limits(1):
        start = time.process_time()
        reference = Reference.load(folder / "reference.npz")
        ensemble = Ensemble.load(folder / "ensemble.npz")
        loaded = time.process_time()
        found = score(ensemble, reference, n_frames=frames, seed=0)
        seconds = time.process_time() - loaded
    gap = float(np.nanmax([number.gap for number in found.numbers.values()]))
    return loaded - start, seconds, _peak_gb(), gap
