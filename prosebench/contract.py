"""The contract: what every method must do, checked on targets with known answers.

`prosebench check METHOD` and the test suite run the same functions. Each takes a `Case`, returns a sentence that says
what was seen, and raises ContractBroken where the method does not hold to it.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from prosebench.energy.analytic import HarmonicTarget
from prosebench.energy.meter import BudgetExhausted, Meter
from prosebench.ensemble import Ensemble, concatenate
from prosebench.frames.importance import normalise
from prosebench.method import Carry, Chunk, Method, Run, check_chunk, load_method
from prosebench.peptide import Peptide
from prosebench.reference import Reference, build_reference
from prosebench.store.storage import arrays_bytes

N_SIGMA = 5.0
N_BATCHES = 20
LARGEST_ERROR = 0.12
"""Largest standard error of a mean, as a share of the standard deviation of what is averaged: 70 effective samples."""
MOMENT_BUDGET = 50_000
MOMENT_PROPOSALS = 10_000
"""Budget of methods whose frames are weighted proposals, and not those of a trajectory."""
MOMENT_FRAMES = 5_000
SMALL_BUDGETS = (37, 500)
EXACT_DRAWS = 2000
MAX_CHUNKS = 100_000


class ContractBroken(AssertionError):
    """A method does not hold to the contract; the message says how."""


@dataclass
class Case:
    """A method under test on harmonic wells in the place of a dipeptide's energy.

    The wells are those that the method names in `contract_spread_nm`. Settings are the method's defaults, but for what
    it names itself in `contract_settings` to keep the check short.
    """

    method: type[Method]
    scratch: Path
    peptide: Peptide = field(default_factory=lambda: Peptide.from_sequence("AA"))

    def __post_init__(self) -> None:
        spread = self.method.contract_spread_nm
        self.target = (
            HarmonicTarget(self.peptide.start_nm)
            if spread is None
            else HarmonicTarget.free_wells(self.peptide.n_atoms, spread)
        )

    def fresh(self) -> Method:
        """A new object of the method."""
        return self.method(self.method.Settings(**self.method.contract_settings))

    def run(self, budgets: tuple[int, ...], cell_id: str = "contract", frames: int = MOMENT_FRAMES) -> Run:
        """A run with a new meter."""
        return Run(
            cell_id=cell_id,
            peptide=self.peptide,
            meter=Meter(self.target, budgets[-1]),
            budgets=budgets,
            frames=frames,
            reference_path=self.reference_path(),
        )

    def reference_path(self) -> Path:
        """A reference of exact draws from the harmonic target, made once."""
        path = self.scratch / f"{self.peptide.sequence}-{self.target.variance_nm2:.6g}.npz"
        if not path.exists():
            _harmonic_reference(self.peptide, self.target).save(path)
        return path

    def skipped(self) -> str | None:
        """The method's reason for not doing this case."""
        return self.fresh().skip(self.run(SMALL_BUDGETS))


def check_contract(name: str, scratch: Path) -> Iterator[tuple[str, bool, str]]:
    """Run every check on a method; yields the check's name, whether it passed, and what was seen."""
    case = Case(load_method(name), scratch)
    for check in CHECKS:
        try:
            yield check.__name__.replace("_", " "), True, check(case)
        except ContractBroken as broken:
            yield check.__name__.replace("_", " "), False, str(broken)


def settings_are_json(case: Case) -> str:
    """Settings survive JSON, and an unknown one is refused."""
    settings = case.method.Settings()
    again = case.method.Settings(**json.loads(json.dumps(settings.model_dump(mode="json"))))
    _require(again == settings, f"settings change on their way through JSON: {settings} became {again}")
    try:
        case.method.Settings.model_validate({"no_such_setting": 1})
    except ValidationError:
        return f"{len(case.method.Settings.model_fields)} settings; an unknown one is refused"
    raise ContractBroken("an unknown setting is accepted; derive Settings from MethodSettings")


def skip_gives_a_reason(case: Case) -> str:
    """`skip` answers None or a sentence."""
    reason = case.skipped()
    _require(reason is None or bool(reason.strip()), f"skip() returned {reason!r}; give None or a reason")
    return f"skips: {reason}" if reason else "takes the case"


def budget_is_kept(case: Case) -> str:
    """Neither budget nor declared preparation is overspent, and frames say truthfully when they were there."""
    if case.skipped():
        return "skipped"
    kept = []
    for budget in (1, *SMALL_BUDGETS):
        run = case.run((budget,))
        method = case.fresh()
        if method.skip(run):
            continue
        kept.append(budget)
        ensemble = _frames(run_chunks(method, run))
        spent, prepared = run.meter.spent, run.meter.ledger.preparation.evaluations
        _require(spent <= budget, f"spent {spent} of {budget} evaluations")
        _require(
            prepared <= method.preparation(run),
            f"spent {prepared} evaluations of preparation, but preparation() declares {method.preparation(run)}",
        )
        assert ensemble.evaluations is not None
        _require(bool((np.diff(ensemble.evaluations) >= 0).all()), "frames are not in order of `evaluations`")
        _require(
            int(ensemble.evaluations[-1]) <= spent,
            f"a frame claims {ensemble.evaluations[-1]} evaluations, but only {spent} were spent",
        )
    return f"budgets {', '.join(map(str, kept))} kept"


def energies_belong_to_frames(case: Case) -> str:
    """Energies are those of the frames returned."""
    if case.skipped():
        return "skipped"
    ensemble = _frames(run_chunks(case.fresh(), case.run(SMALL_BUDGETS)))
    expected = case.target.energy(ensemble.positions_nm)
    # Frames are kept in float32: a rounding of 1e-7 nm times gradients of a few hundred kT/nm a coordinate.
    worst = float(np.abs(ensemble.energies_kt - expected).max())
    _require(worst < 1e-2, f"an energy is {worst:.3g} kT off that of its frame")
    return f"largest difference {worst:.1e} kT"


def chunks_resume(case: Case) -> str:
    """A new process may take over after any chunk: same numbers, bit for bit."""
    if case.skipped():
        return "skipped"
    undisturbed = _frames(run_chunks(case.fresh(), case.run(SMALL_BUDGETS)))
    resumed = _frames(run_chunks(case.fresh, case.run(SMALL_BUDGETS)))
    _require(
        _bytes(undisturbed) == _bytes(resumed),
        "a new object for each chunk gives other numbers: state outside of the carry",
    )
    return f"{len(undisturbed)} frames equal, bit for bit"


def seeds_are_honoured(case: Case) -> str:
    """Another cell gives other frames, the same cell the same."""
    if case.skipped():
        return "skipped"
    one, again, other = (
        _bytes(_frames(run_chunks(case.fresh(), case.run(SMALL_BUDGETS, cell))))
        for cell in ("one", "one", "other")
    )
    _require(
        one == again,
        "the same cell gives other frames the second time: some random number is not from Run.rng",
    )
    _require(one != other, "two cells give the same frames: the method ignores Run.rng")
    return "same cell, same frames; other cell, other frames"


def prefixes_are_prefixes(case: Case) -> str:
    """Where small budgets are said to be prefixes of large ones, a run of the small one alone gives the same frames."""
    if case.skipped() or not case.method.prefixes:
        return "does not apply"
    small, large = (
        _frames(run_chunks(case.fresh(), case.run(budgets))) for budgets in (SMALL_BUDGETS[:1], SMALL_BUDGETS)
    )
    assert large.evaluations is not None
    mark = SMALL_BUDGETS[0]
    begun = large.select(large.evaluations <= mark)
    _require(len(begun) > 0, f"no frame is there at the mark of {mark} evaluations")
    _require(
        _bytes(begun) == _bytes(small),
        f"the {len(begun)} frames that a run of {SMALL_BUDGETS[1]} evaluations has at {mark} are not the {len(small)} "
        f"of a run of {mark}: set prefixes = False",
    )
    return f"{len(begun)} frames at {mark}, as in a run of {mark}; {len(large)} at {SMALL_BUDGETS[1]} evaluations"


def moments_are_right(case: Case) -> str:
    """Mean energy, mean position and variance on the harmonic target, within n standard errors by batch means.

    Errors must be small, or any number would do: see LARGEST_ERROR.
    """
    if case.skipped():
        return "skipped"
    budget = MOMENT_BUDGET if case.method.contract_spread_nm is None else MOMENT_PROPOSALS
    ensemble = _frames(run_chunks(case.fresh(), case.run((budget,))))
    exact = _moments(case.target, case.target.draw(EXACT_DRAWS, np.random.default_rng(0)))
    expectations = (case.target.mean_energy_kt, 0.0, case.target.shift_variance_nm2)
    seen = _moments(case.target, ensemble.positions_nm, ensemble.energies_kt)
    words, shares = [], {}
    for (name, values), expected in zip(seen.items(), expectations, strict=True):
        mean, error = _batch_mean(values, ensemble.log_weights)
        sigmas, shares[name] = abs(mean - expected) / error, error / exact[name].std()
        _require(
            sigmas < N_SIGMA,
            f"{name} is {mean:.4g} +- {error:.2g}, but {expected:.4g} is right: {sigmas:.1f} standard errors off",
        )
        words.append(f"{name} {sigmas:.1f} sigma")
    for name, share in shares.items():
        _require(
            share < LARGEST_ERROR,
            f"{name} has a standard error of {share:.2f} standard deviations after {budget} evaluations, which proves "
            f"nothing; {LARGEST_ERROR} are allowed: let contract_settings sample faster",
        )
    return ", ".join(words) + " off"


CHECKS: tuple[Callable[[Case], str], ...] = (
    settings_are_json,
    skip_gives_a_reason,
    budget_is_kept,
    energies_belong_to_frames,
    chunks_resume,
    seeds_are_honoured,
    prefixes_are_prefixes,
    moments_are_right,
)


def run_chunks(method: Method | Callable[[], Method], run: Run) -> list[Chunk]:
    """All chunks of a run. Given a function that makes methods, a new one does each chunk, from a stored carry.

    Raises ContractBroken where a frame claims evaluations that were not those of its chunk.
    """
    chunks: list[Chunk] = []
    carry: Carry = {}
    while run.meter.remaining > 0 and len(chunks) < MAX_CHUNKS:
        worker, before = method if isinstance(method, Method) else method(), run.meter.spent
        try:
            chunk = worker.chunk(run, len(chunks), carry)
        except BudgetExhausted:
            break
        try:
            check_chunk(chunk, before, run.meter.spent, run.peptide.n_atoms)
        except ValueError as error:
            raise ContractBroken(str(error)) from error
        chunks.append(chunk)
        carry = {name: np.array(array, copy=True) for name, array in chunk.carry.items()}
        if chunk.done:
            break
    return chunks


def _frames(chunks: list[Chunk]) -> Ensemble:
    parts = [chunk.ensemble for chunk in chunks if chunk.ensemble is not None]
    _require(bool(parts), "the method ended without a single frame")
    return concatenate(parts)


def _moments(
    target: HarmonicTarget, frames_nm: NDArray[np.floating], energies_kt: NDArray[np.float64] | None = None
) -> dict[str, NDArray[np.float64]]:
    """What is averaged, of each frame (n, atoms, 3), by name."""
    shifts = target.shifts(frames_nm)
    return {
        "mean energy (kT)": target.energy(frames_nm) if energies_kt is None else energies_kt,
        # Of every second atom: the mean of them all is 0 in free wells, whatever the method does.
        "mean position (nm)": shifts[:, ::2].mean(axis=(1, 2)),
        "variance (nm^2)": (shifts**2).mean(axis=(1, 2)),
    }


def _bytes(ensemble: Ensemble) -> bytes:
    return arrays_bytes(ensemble.arrays())


def _batch_mean(values: NDArray[Any], log_weights: NDArray[np.float64] | None) -> tuple[float, float]:
    """Weighted mean and its standard error from the spread over batches, which holds for correlated frames too.

    All weights count: the filter of the published protocol would add a bias of its own.
    """
    weights = np.full(len(values), 1 / len(values)) if log_weights is None else normalise(log_weights)
    batches = np.array_split(np.arange(len(values)), N_BATCHES)
    totals = np.array([weights[batch].sum() for batch in batches])
    sums = np.array([(weights[batch] * values[batch]).sum() for batch in batches])
    mean = sums.sum() / totals.sum()
    residuals = sums - mean * totals
    return float(mean), float(math.sqrt(N_BATCHES / (N_BATCHES - 1) * (residuals**2).sum()) / totals.sum())


def _harmonic_reference(peptide: Peptide, target: HarmonicTarget) -> Reference:
    frames = target.draw(4000, np.random.default_rng(0))
    draws = Ensemble(frames, target.energy(frames.astype(np.float32)))
    return build_reference(
        peptide,
        [draws],
        frame_interval_ps=1.0,
        lag_frames=1,
        n_frames=4000,
        seed=0,
        source={"made_by": "exact draws from the harmonic target"},
    )


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ContractBroken(message)
