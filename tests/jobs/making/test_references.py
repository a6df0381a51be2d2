"""References are handed over one by one: who is interrupted keeps those whose own cells are done."""

from pathlib import Path

import pytest
from rich.console import Console

from jobs.cells.display import Progress
from jobs.making.references import MadeReference, ReferencePlan, make_references
from prosebench.energy.settings import TargetSettings
from prosebench.record import cell_folders, read_cell

PLAN = ReferencePlan(
    ladders=1, levels=2, tempering_ns=0.001, replicas=4, md_ns=0.06, lag_ns=0.01, n_frames=20
)


class Interrupted(Exception):
    pass


def test_an_interrupted_night_leaves_finished_references(tmp_path: Path) -> None:
    made: list[str] = []

    def finish(sequence: str, one: MadeReference) -> None:
        made.append(sequence)
        assert len(one.reference.scored) == PLAN.n_frames // 2
        if len(made) == 1:
            raise Interrupted

    def watch_cells(folders: list[Path]) -> Progress:
        return Progress(folders, Console(quiet=True))

    def make() -> None:
        make_references(
            ["GGG", "GG"],
            PLAN,
            TargetSettings(),
            tmp_path,
            workers=1,
            watch_cells=watch_cells,
            finish=finish,
        )

    with pytest.raises(Interrupted):
        make()
    assert made == ["GG"]
    assert {read_cell(folder).peptide for folder in cell_folders(tmp_path)} == {"GG"}
    make()
    assert made == ["GG", "GG", "GGG"]
