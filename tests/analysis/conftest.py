"""A small run folder, made with the real writers, and references made from short trajectories."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from numpy.typing import NDArray

from prosebench.energy.meter import Counts, Ledger
from prosebench.energy.openmm import OpenMMEnergy
from prosebench.energy.settings import TargetSettings
from prosebench.energy.target import LangevinSettings, PhaseState, Stretch
from prosebench.ensemble import Ensemble
from prosebench.peptide import Peptide
from prosebench.peptide.force_field import system_hash
from prosebench.record import Cell, Provenance, Record
from prosebench.reference import Reference, build_reference
from prosebench.store.storage import json_bytes, write_bytes, write_json

matplotlib.use("Agg")
FRAMES = 60
BUDGETS = (60, 600)


@dataclass(frozen=True)
class RunBuilder:
    """Writes cells, records and ensembles into a run folder."""

    directory: Path

    def cell(self, **changes: Any) -> Cell:
        """A cell of the suite "small"; changes are its fields."""
        fields: dict[str, Any] = {
            "suite": "small",
            "peptide": "AA",
            "row": "md",
            "settings": {"friction_per_ps": 0.3},
            "budgets": BUDGETS,
            "frames": FRAMES,
            "seed": 0,
            "target": TargetSettings(),
        }
        fields |= changes
        return Cell(**({"method": fields["row"]} | fields))

    def waiting(self, cell: Cell) -> Path:
        """Lay a cell out."""
        folder = self.directory / "cells" / cell.folder_name
        write_bytes(folder / "cell.json", json_bytes(cell.model_dump(mode="json")))
        return folder

    def failed(self, cell: Cell, reason: str) -> Path:
        """A cell that raised an error."""
        folder = self.waiting(cell)
        write_json(folder / "failure.json", {"attempts": 1, "reason": reason, "traceback": ""})
        return folder

    def skipped(self, cell: Cell, reason: str) -> Path:
        """A cell that its method cannot do."""
        folder = self.waiting(cell)
        record = _record(cell).model_copy(update={"status": "skipped", "reason": reason})
        _write_provenance(folder, dict.fromkeys(("sampling", "preparation", "training", "target"), 0.0))
        write_json(folder / "record.json", record.model_dump(mode="json"))
        return folder

    def done(self, cell: Cell, ensemble: Ensemble, *, preparation: int = 50, seconds: float = 6.0) -> Path:
        """A finished cell with these frames."""
        folder = self.waiting(cell)
        digest = ensemble.save(folder / "ensemble.npz")
        spent = int(ensemble.evaluations[-1]) if ensemble.evaluations is not None else cell.budgets[-1]
        ledger = Ledger(sampling=Counts(evaluations=spent), preparation=Counts(evaluations=preparation))
        record = _record(cell).model_copy(
            update={"ledger": ledger, "frames": len(ensemble), "chunks": 1, "ensemble_sha256": digest}
        )
        phases = {"sampling": seconds, "preparation": 1.0, "training": 0.0, "target": 0.9 * seconds}
        _write_provenance(folder, phases)
        write_json(folder / "record.json", record.model_dump(mode="json"))
        return folder


def _write_provenance(folder: Path, seconds: dict[str, float]) -> None:
    provenance = Provenance(
        host="node",
        device="cpu",
        commit="abc",
        started="2026-01-01",
        finished="2026-01-01",
        sittings=1,
        seconds=seconds,
    )
    write_json(folder / "provenance.json", provenance.model_dump(mode="json"))


def _record(cell: Cell) -> Record:
    return Record(
        cell_id=cell.id,
        cell=cell,
        status="done",
        force_field_hash=system_hash(Peptide.from_sequence(cell.peptide).system()),
        start_hash="0" * 64,
        target={"engine": "openmm"},
        gate_deviation_kj_mol=0.0,
        versions={"prosebench": "0.1.0"},
    )


def trajectory(sequence: str, n_frames: int, *, steps_between: int, seed: int) -> Ensemble:
    """A short piece of MD at 310 K with the energies that OpenMM gives."""
    peptide = Peptide.from_sequence(sequence)
    energy = OpenMMEnergy(peptide, threads=1)
    state = PhaseState(peptide.start_nm[None], np.zeros((1, peptide.n_atoms, 3)))
    n_steps = n_frames * steps_between
    keep = np.arange(1, n_frames + 1) * steps_between
    found = energy.langevin(
        state, Stretch(n_steps, LangevinSettings(friction_per_ps=5.0, time_step_fs=2.0), seed, 0, keep)
    )
    return Ensemble(found.frames_nm[:, 0], found.energies_kt[:, 0])


def with_evaluations(ensemble: Ensemble, evaluations: NDArray[np.integer]) -> Ensemble:
    """The same frames, now knowing when they were sampled."""
    return Ensemble(ensemble.positions_nm, ensemble.energies_kt, ensemble.log_weights, evaluations)


@pytest.fixture(scope="session")
def pool() -> Ensemble:
    """Frames of AA out of one trajectory."""
    return trajectory("AA", 600, steps_between=20, seed=1)


@pytest.fixture(scope="session")
def reference_folder(pool: Ensemble, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a reference of AA."""
    folder = tmp_path_factory.mktemp("references")
    made = build_reference(
        Peptide.from_sequence("AA"),
        [pool],
        frame_interval_ps=0.04,
        lag_frames=5,
        n_frames=300,
        seed=0,
        source={"kind": "test"},
        koopman_reweighting=False,
    )
    made.save(folder / "AA.npz")
    return folder


@pytest.fixture(scope="session")
def reference(reference_folder: Path) -> Reference:
    """The reference of AA."""
    return Reference.load(reference_folder / "AA.npz")


@pytest.fixture(scope="session")
def run_folder(pool: Ensemble, reference: Reference, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a row of MD, the floor, a row with weights, one of clashes, one that was skipped and one
    that failed.

    Read only: what writes into a run folder makes its own.
    """
    return fill_run(RunBuilder(tmp_path_factory.mktemp("run")), pool, reference).directory


def fill_run(run: RunBuilder, pool: Ensemble, reference: Reference) -> RunBuilder:
    """Write the cells described by `run_folder`."""
    rng = np.random.default_rng(0)
    for seed in (0, 1):
        md = pool.select(np.arange(seed * 100, seed * 100 + 120))
        run.done(run.cell(seed=seed), with_evaluations(md, np.arange(1, 121) * 5))
        draw = reference.spare.select(rng.permutation(len(reference.spare))[:FRAMES])
        run.done(
            run.cell(row="reference-draw", settings={}, seed=seed),
            with_evaluations(draw, np.arange(1, FRAMES + 1)),
            preparation=0,
        )
        proposals = pool.select(rng.integers(len(pool), size=600))
        weights = rng.normal(size=600)
        run.done(
            run.cell(row="flow_a&b", settings={}, seed=seed),
            Ensemble(proposals.positions_nm, proposals.energies_kt, weights, np.arange(1, 601)),
        )
        clashing = Ensemble(
            md.positions_nm,
            np.where(np.arange(120) % 40 == 39, np.inf, md.energies_kt + 3.0),
            None,
            np.arange(1, 121) * 5,
        )
        run.done(run.cell(row="clashing", settings={}, seed=seed), clashing)
        run.skipped(run.cell(row="tbg", settings={}, seed=seed), "not trained on N-terminal proline")
        run.failed(run.cell(row="smc", settings={}, seed=seed), "FloatingPointError: the trajectory blew up")
        run.waiting(run.cell(peptide="KG", seed=seed))
    return run
