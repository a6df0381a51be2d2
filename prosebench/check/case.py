"""A method under test: harmonic wells in the place of a dipeptide's energy, and runs whose books are kept here."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from prosebench.energy.analytic import HarmonicTarget
from prosebench.energy.meter import Account, BudgetExhausted, Meter, count_calls
from prosebench.energy.target import Target
from prosebench.ensemble import Ensemble, concatenate
from prosebench.method import Carry, Chunk, Method, Run, check_chunk
from prosebench.peptide import Peptide
from prosebench.reference import Reference, build_reference

MAX_CHUNKS = 100_000
MAX_IDLE_CHUNKS = 1000
"""The largest number of chunks in a row that may cost no evaluation and give no frame. A method that trains
has such chunks."""
FRAMES = 5_000
_MASS_DALTON = 0.2
"""The mass in dalton of every atom. It is so light that a step of 1 fs covers a sixtieth of a period, and
dynamics samples the wells within few steps."""
_REFERENCE_FRAMES = 12_000


class ContractBroken(AssertionError):
    """A method does not hold to the contract; the message says how."""


def require(condition: bool, message: str) -> None:
    """Raise ContractBroken with the message unless the condition holds."""
    if not condition:
        raise ContractBroken(message)


@dataclass
class Case:
    """A method under test on harmonic wells in the place of a dipeptide's energy.

    The wells are those that the method names in `contract_spread_nm`. Settings are the method's defaults, but for what
    it names itself in `contract_settings` to keep the check short. Moments are judged so exactly that a bias of
    smallest_bias standard deviations would be seen.
    """

    method: type[Method]
    scratch: Path
    peptide: Peptide = field(default_factory=lambda: Peptide.from_sequence("AA"))
    smallest_bias: float = 0.1

    def __post_init__(self) -> None:
        spread = self.method.contract_spread_nm
        self.target = (
            HarmonicTarget(self.peptide.start_nm, mass_dalton=_MASS_DALTON)
            if spread is None
            else HarmonicTarget.free_wells(self.peptide.n_atoms, spread)
        )

    def fresh(self) -> Method:
        """A new object of the method."""
        return self.method(self.method.Settings(**self.method.contract_settings))

    def trial(
        self,
        budgets: tuple[int, ...],
        cell_id: str = "contract",
        *,
        target: Target | None = None,
        reference_path: Path | None = None,
    ) -> "Trial":
        """A run with a new meter; on another target if one is given."""
        counted, asked = count_calls(target or self.target)
        account = Account()
        run = Run(
            cell_id=cell_id,
            peptide=self.peptide,
            meter=Meter(counted, budgets[-1], account),
            budgets=budgets,
            frames=FRAMES,
            reference_path=reference_path or self.reference_path(),
        )
        return Trial(run, account, asked)

    def reference_path(self) -> Path:
        """A reference of exact draws from the harmonic target, made once."""
        path = self.scratch / f"{self.peptide.sequence}-{self.target.variance_nm2:.6g}.npz"
        if not path.exists():
            _harmonic_reference(self.peptide, self.target).save(path)
        return path

    def skipped(self) -> str | None:
        """The method's reason for not doing this case."""
        return self.fresh().skip(self.trial((37, 500)).run)


@dataclass
class Trial:
    """One run of a method, with the account of its meter and a count of the target's evaluations: see
    `count_calls`."""

    run: Run
    account: Account
    asked: Callable[[], int]

    def frames(self, method: Method | Callable[[], Method]) -> Ensemble:
        """All frames of a method (see `run_chunks`). Raises ContractBroken if there are none, or if the meter
        did not count all evaluations of the target."""
        stopped: list[BudgetExhausted] = []
        chunks = run_chunks(method, self.run, lambda: self.spent, stopped)
        require(
            self.spent + self.prepared == self.asked(),
            f"the target was asked for {self.asked()} evaluations, but the meter counted {self.spent + self.prepared}: "
            "energies come through run.meter alone",
        )
        parts = [chunk.ensemble for chunk in chunks if chunk.ensemble is not None and len(chunk.ensemble)]
        if not parts and stopped:
            raise ContractBroken(
                f"overspends: {stopped[0]}, and so it ended without a frame; look at run.meter.remaining before asking"
            )
        require(bool(parts), f"{len(chunks)} chunks, and not a single frame among them")
        return concatenate(parts)

    @property
    def spent(self) -> int:
        """Evaluations of sampling, by the account."""
        return self.account.ledger.sampling.evaluations

    @property
    def prepared(self) -> int:
        """Evaluations of preparation, by the account."""
        return self.account.ledger.preparation.evaluations


def run_chunks(
    method: Method | Callable[[], Method],
    run: Run,
    spent: Callable[[], int] | None = None,
    stopped: list[BudgetExhausted] | None = None,
) -> list[Chunk]:
    """Do all chunks of a run. Given a function that makes methods, a new one does each chunk, from a stored
    carry.

    spent is the account's word for what was spent (default: the meter's); what ended the run at its budget is put into
    stopped. Raises ContractBroken for chunks that are not sound (`prosebench.method.check_chunk`), or without end.
    """
    spent = spent or (lambda: run.meter.spent)
    chunks: list[Chunk] = []
    carry: Carry = {}
    idle = 0
    while spent() < run.budgets[-1] and len(chunks) < MAX_CHUNKS:
        worker, before = method if isinstance(method, Method) else method(), spent()
        try:
            chunk = worker.chunk(run, len(chunks), carry)
        except BudgetExhausted as end:
            if stopped is not None:
                stopped.append(end)
            break
        try:
            check_chunk(chunk, before, spent(), run.peptide.n_atoms)
        except ValueError as error:
            raise ContractBroken(str(error)) from error
        chunks.append(chunk)
        carry = {name: np.array(array, copy=True) for name, array in chunk.carry.items()}
        if chunk.done:
            break
        idle = idle + 1 if spent() == before and not chunk.ensemble else 0
        require(
            idle < MAX_IDLE_CHUNKS,
            f"{idle} chunks in a row spent nothing of the budget, gave no frame and were not `done`: it would not end",
        )
    return chunks


def _harmonic_reference(peptide: Peptide, target: HarmonicTarget) -> Reference:
    frames = target.draw(_REFERENCE_FRAMES, np.random.default_rng(0))
    draws = Ensemble(frames, target.energy(frames.astype(np.float32)))
    return build_reference(
        peptide,
        [draws],
        frame_interval_ps=1.0,
        lag_frames=1,
        n_frames=_REFERENCE_FRAMES,
        seed=0,
        source={"made_by": "exact draws from the harmonic target"},
    )
