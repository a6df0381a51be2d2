"""The floor, end to end: frames of the control are of the spare half, and their score is that of two halves."""

from pathlib import Path

import numpy as np
import pytest

from analysis.metrics.score import distances
from analysis.scores.run import score_run
from baselines.reference_draw import ReferenceDraw
from jobs.cells.plan import lay_out, plan_cells
from jobs.cells.worker import Desk, run_cell
from prosebench.energy.meter import Meter
from prosebench.energy.settings import TargetSettings, make_target
from prosebench.ensemble import Ensemble
from prosebench.method import Run
from prosebench.peptide import Peptide
from prosebench.record import read_record
from prosebench.reference import Reference, build_reference
from prosebench.suite import Suite

SEQUENCE, SCORED = "GG", 150


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reference whose frames wander around the start structure."""
    return make_reference(tmp_path_factory.mktemp("references"))


def make_reference(made: Path) -> Path:
    peptide, rng = Peptide.from_sequence(SEQUENCE), np.random.default_rng(0)
    steps = rng.normal(scale=3e-3, size=(1200, peptide.n_atoms, 3))
    for i in range(1, len(steps)):
        steps[i] += 0.5 * steps[i - 1]
    frames = (peptide.start_nm + steps).astype(np.float32)
    build_reference(
        peptide,
        [Ensemble(frames, make_target(peptide, TargetSettings()).energy(frames))],
        frame_interval_ps=1.0,
        lag_frames=2,
        n_frames=1000,
        seed=0,
        source={},
        koopman_reweighting=False,
    ).save(made / f"{SEQUENCE}.npz")
    return made


def keys(frames: np.ndarray) -> set[bytes]:
    return {frame.tobytes() for frame in frames}


def test_frames_are_of_the_spare_half(folder: Path) -> None:
    path = folder / f"{SEQUENCE}.npz"
    reference = Reference.load(path)
    meter = Meter(make_target(reference.peptide, TargetSettings()), 1000)
    run = Run("cell", reference.peptide, meter, (1000,), SCORED, reference_path=path)
    chunk = ReferenceDraw(ReferenceDraw.Settings()).chunk(run, 0, {})
    assert chunk.ensemble is not None
    drawn = keys(chunk.ensemble.positions_nm)
    assert len(drawn) == SCORED
    assert drawn <= keys(reference.spare.positions_nm)
    assert not drawn & keys(reference.scored.positions_nm)


def test_the_control_is_drawn_from_what_is_not_scored(folder: Path, tmp_path: Path) -> None:
    suite = Suite(
        name="own", peptides=(SEQUENCE,), budgets=(1000,), frames=SCORED, methods={"reference-draw": {}}
    )
    (cell,) = lay_out(plan_cells(suite), tmp_path / "run")
    assert run_cell(cell, Desk(tmp_path / "run", "session", reference_folders=(folder,))) == "done"
    drawn = read_record(cell).load_ensemble(cell)
    reference = Reference.load(folder / f"{SEQUENCE}.npz")

    assert len(keys(drawn.positions_nm)) == len(drawn) == SCORED
    assert keys(drawn.positions_nm) <= keys(reference.spare.positions_nm)
    assert not keys(drawn.positions_nm) & keys(reference.scored.positions_nm)
    assert not keys(reference.spare.positions_nm) & keys(reference.scored.positions_nm)
    scores = score_run(tmp_path / "run", [folder]).set_index("metric")["value"]
    # What two disjoint sets of so many frames are apart, whichever they are.
    rng, topology = np.random.default_rng(1), reference.peptide.topology
    apart = []
    for _ in range(6):
        order = rng.permutation(len(reference))
        sides = (reference.ensemble.select(order[k * SCORED : (k + 1) * SCORED]) for k in (0, 1))
        apart.append(distances(*sides, reference.tica, topology))
    for name in ("torus-w2", "tica-w2", "energy-w2"):
        usual = np.array([one[name] for one in apart])
        assert usual.min() * 0.5 < scores[name] < usual.max() * 2.0
