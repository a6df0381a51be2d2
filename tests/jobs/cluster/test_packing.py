"""Estimates and packing: what was seen counts, long cells stay alone, short ones share a job, limits hold."""

from pathlib import Path

import pytest

from jobs.cells.plan import plan_cells
from jobs.cluster.cost import CELL_SECONDS, CostModel
from jobs.cluster.packing import Work, pack
from jobs.cluster.profile import Cluster
from jobs.cluster.submit import make_plan
from prosebench.energy.meter import Counts, Ledger
from prosebench.peptide import Peptide, number_of_atoms
from prosebench.record import Cell, Provenance, Record
from prosebench.store.storage import write_json
from prosebench.suite import load_suite, narrow


def cell(peptide: str = "AA", method: str = "md", budget: int = 10_000, seed: int = 0) -> Cell:
    suite = narrow(load_suite("quickstart"), methods=[method], budgets=[budget], seeds=[seed])
    return next(one for one in plan_cells(suite)).model_copy(update={"peptide": peptide})


def finished(directory: Path, one: Cell, seconds_each: float, preparation: int = 500) -> None:
    evaluations = one.budgets[-1]
    record = Record(
        cell_id=one.id,
        cell=one,
        status="done",
        ledger=Ledger(sampling=Counts(evaluations=evaluations), preparation=Counts(evaluations=preparation)),
        force_field_hash="0" * 64,
        start_hash="0" * 64,
        target={},
        gate_deviation_kj_mol=0.0,
        versions={},
    )
    provenance = Provenance(
        host="", device="", commit="", started="", finished="", sittings=1,
        seconds={"sampling": seconds_each * (evaluations + preparation)},
    )  # fmt: skip
    folder = directory / "cells" / one.folder_name
    write_json(folder / "cell.json", one.model_dump(mode="json"))
    write_json(folder / "record.json", record.model_dump(mode="json"))
    write_json(folder / "provenance.json", provenance.model_dump(mode="json"))


@pytest.mark.parametrize("sequence", ["AA", "PWHG", "KRDEYC"])
def test_atoms_are_counted_without_building_the_peptide(sequence: str) -> None:
    assert number_of_atoms(sequence) == Peptide.from_sequence(sequence).n_atoms


def test_estimates_are_learned_from_finished_cells(tmp_path: Path) -> None:
    guessed = CostModel().seconds(cell())
    for seed in range(3):
        finished(tmp_path, cell(seed=seed), seconds_each=1e-3)
    learned = CostModel().learn([tmp_path]).seconds(cell(seed=7, budget=20_000))
    assert learned == pytest.approx(CELL_SECONDS + 20_500 * 1e-3)
    assert learned != guessed


def test_the_growth_with_size_is_learned(tmp_path: Path) -> None:
    for peptide in ("AA", "AAAA", "AAAAAA"):
        finished(tmp_path, cell(peptide), seconds_each=1e-7 * number_of_atoms(peptide) ** 2)
    expected = CELL_SECONDS + 10_500 * 1e-7 * number_of_atoms("AAAAAAAA") ** 2
    assert CostModel().learn([tmp_path]).seconds(cell("AAAAAAAA")) == pytest.approx(expected, rel=1e-6)


def works(number: int, seconds: float, method: str = "md") -> list[Work]:
    return [Work(Path(str(seed)), cell(method=method, seed=seed), seconds, 100) for seed in range(number)]


def test_short_cells_share_a_job_and_long_ones_stand_alone() -> None:
    (array,) = pack(works(100, 6.0), Cluster(pack_minutes=5), 1000)
    assert [len(job) for job in array.jobs] == [50, 50]
    (array,) = pack(works(4, 3600.0), Cluster(pack_minutes=5), 1000)
    assert [len(job) for job in array.jobs] == [1, 1, 1, 1]


def test_jobs_get_equal_loads() -> None:
    mixed = [*works(3, 600.0), *works(30, 20.0)]
    (array,) = pack(mixed, Cluster(pack_minutes=10), 1000)
    loads = [sum(work.seconds for work in job) for job in array.jobs]
    assert len(loads) == 4
    assert max(loads) - min(loads) <= 20.0


def test_needs_are_kept_apart() -> None:
    cluster = Cluster(methods={"reference-draw": {"gpus": 1}})
    arrays = pack([*works(2, 60.0), *works(3, 60.0, "reference-draw")], cluster, 1000)
    assert [(array.need.gpus, sum(map(len, array.jobs))) for array in arrays] == [(0, 2), (1, 3)]


def test_limits_of_arrays_jobs_and_time() -> None:
    arrays = pack(works(25, 3600.0), Cluster(), 10)
    assert [len(array.jobs) for array in arrays] == [10, 10, 5]
    (array,) = pack(works(25, 3600.0), Cluster(max_jobs=4), 10)
    assert sorted(len(job) for job in array.jobs) == [6, 6, 6, 7]
    assert array.minutes == Cluster().minutes, "what does not fit is finished in a second sitting"
    (array,) = pack(works(1, 60.0), Cluster(), 10)
    assert array.minutes < 10, "short jobs ask for little, so that the scheduler can fit them in"


def test_a_plan_counts_what_is_finished_and_writes_nothing(tmp_path: Path) -> None:
    cells = [cell(seed=seed) for seed in range(3)]
    finished(tmp_path / "run", cells[0], 1e-3)
    before = sorted(tmp_path.rglob("*"))
    plan = make_plan(cells, tmp_path / "run", Cluster())
    assert (plan.finished, len(plan.works)) == (1, 2)
    assert not any(work.guessed for work in plan.works)
    assert all(work.guessed for work in make_plan(cells, tmp_path / "elsewhere" / "run", Cluster()).works)
    assert sum(work.evaluations for work in plan.works) == 20_000
    assert sorted(tmp_path.rglob("*")) == before
