"""How long a cell takes is learned from its own kind alone, and guessed by its size before that."""

from pathlib import Path
from typing import Any

import pytest

from jobs.cluster import cost
from jobs.cluster.cost import CELL_SECONDS, CostModel
from prosebench.energy.meter import Counts, Ledger
from prosebench.energy.settings import TargetSettings
from prosebench.peptide import number_of_atoms
from prosebench.record import Cell, write_record
from tests.prosebench.test_record import CELL, PROVENANCE, RECORD


def cell(**changes: Any) -> Cell:
    return CELL.model_copy(update={"budgets": (10_000,)} | changes)


def finished(
    directory: Path, one: Cell, sampling: float, *, preparation: int = 0, status: str = "done", **where: Any
) -> None:
    spent = one.budgets[-1]
    ledger = Ledger(
        sampling=Counts(evaluations=spent, energies=spent),
        preparation=Counts(evaluations=preparation, energies=preparation),
    )
    record = RECORD.model_copy(update={"cell": one, "cell_id": one.id, "ledger": ledger, "status": status})
    provenance = PROVENANCE.model_copy(update={"seconds": {"sampling": sampling, "target": 1e6}} | where)
    folder = directory / "cells" / one.folder_name
    folder.mkdir(parents=True)
    (folder / "cell.json").write_text(one.model_dump_json())
    write_record(folder, record, provenance)


def test_the_median_counts_and_preparation_is_taken_along(tmp_path: Path) -> None:
    for seed, seconds in enumerate((11.0, 11.0, 5000.0)):
        finished(tmp_path, cell(seed=seed), seconds, preparation=1000)
    found = CostModel().learn([tmp_path]).seconds(cell(budgets=(100_000,)))
    assert found == pytest.approx(CELL_SECONDS + 101_000 * 1e-3)


def test_ranks_and_every_phase_but_the_target_s_are_counted(tmp_path: Path) -> None:
    """The time in the target is part of the others."""
    seconds = {"sampling": 6.0, "preparation": 3.0, "training": 1.0, "target": 9.0}
    finished(tmp_path, cell(), 0.0, ranks=4, seconds=seconds)
    assert CostModel().learn([tmp_path]).seconds(cell()) == pytest.approx(CELL_SECONDS + 40.0)


@pytest.mark.parametrize(
    "other",
    [
        {"method": "smc-ula"},
        {"settings": {"weights": "prose-mini", "weights_sha256": "1f"}},
        {"settings": {"proposal_settings": {"weights": "prose-mini"}}},
        {"target": TargetSettings(engine="openmm")},
        {"target": TargetSettings(engine="openmm", platform="Reference")},
    ],
    ids=["method", "weights", "weights of a proposal", "engine", "platform"],
)
def test_another_kind_of_cell_is_not_known(other: dict[str, Any], tmp_path: Path) -> None:
    finished(tmp_path, cell(), 10.0)
    model = CostModel().learn([tmp_path])
    assert model.knows(cell(seed=5, budgets=(7,)))
    assert not model.knows(cell(**other))
    assert not model.knows(cell(), gpu=True)


def test_cells_that_say_nothing_of_time_teach_nothing(tmp_path: Path) -> None:
    finished(tmp_path, cell(seed=0), 10.0, status="skipped")
    finished(tmp_path, cell(seed=1), 0.0)
    finished(tmp_path, cell(seed=2), 10.0)
    damaged = next((tmp_path / "cells").glob("*-s2-*")) / "record.json"
    damaged.write_text("{")
    assert not CostModel().learn([tmp_path, tmp_path / "nothing"]).knows(cell())


def test_growth_with_size_is_kept_within_reason(tmp_path: Path) -> None:
    """Three sizes whose times fall with their size: a guess for a large one is not zero."""
    for peptide, seconds in (("AA", 100.0), ("AAAA", 10.0), ("AAAAAA", 1.0)):
        finished(tmp_path, cell(peptide=peptide), seconds)
    model = CostModel().learn([tmp_path])
    small, large = (model.seconds(cell(peptide=peptide)) - CELL_SECONDS for peptide in ("AA", "A" * 20))
    ratio = number_of_atoms("A" * 20) / number_of_atoms("AA")
    assert large / small == pytest.approx(ratio**0.5)


def test_one_size_is_scaled_by_the_usual_growth(tmp_path: Path) -> None:
    finished(tmp_path, cell(), 10.0)
    model = CostModel().learn([tmp_path])
    ratio = number_of_atoms("AAAA") / number_of_atoms("AA")
    assert model.seconds(cell(peptide="AAAA")) - CELL_SECONDS == pytest.approx(
        10.0 * ratio**cost.GUESSED_EXPONENT
    )


def test_flows_are_guessed_by_the_size_of_their_file_and_faster_on_a_gpu(tmp_path: Path) -> None:
    small, large = tmp_path / "small.npz", tmp_path / "large.npz"
    small.write_bytes(bytes(4000))
    large.write_bytes(bytes(40_000))
    seconds = {
        path.stem: CostModel().seconds(cell(settings={"weights": str(path)})) - CELL_SECONDS
        for path in (small, large)
    }
    assert seconds["large"] == pytest.approx(10 * seconds["small"])
    flops = 2 * 1000 * number_of_atoms("AA") * 10_000
    assert seconds["small"] == pytest.approx(flops / cost.GUESSED_PROPOSAL_FLOP_PER_SECOND["cpu"])
    gone = cell(settings={"weights": "gone.ckpt"})
    assert CostModel().seconds(gone, gpu=True) < CostModel().seconds(gone)
