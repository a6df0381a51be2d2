"""References are handed over one by one: who is interrupted keeps those whose own cells are done."""

import re
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from jobs.cells.display import Progress
from jobs.making.reference_plan import PlanError, ReferencePlan
from jobs.making.references import MadeReference, make_references
from prosebench.cli import app
from prosebench.energy.settings import TargetSettings
from prosebench.record import cell_folders, read_cell

PLAN = ReferencePlan(
    ladders=1, levels=2, tempering_ns=0.001, replicas=4, md_ns=0.16, lag_ns=0.01, n_frames=20, flow=""
)


class Interrupted(Exception):
    pass


def test_an_interrupted_night_leaves_finished_references(tmp_path: Path) -> None:
    made: list[str] = []

    def finish(sequence: str, one: MadeReference) -> None:
        made.append(sequence)
        assert 0 < len(one.reference.scored) < PLAN.n_frames
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


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--frames", "20000", "--md-ns", "0.16"],
            r"GG: a reference of 20,000 frames cannot be drawn from 64: .*runs 4 x 0.16 ns",
        ),
        (["--frames", "20", "--md-ns", "0.06"], "GG: TICA of 21 features needs more pairs .* have 20 pairs"),
        (["--frames", "20", "--md-ns", "0.16", "--lag-ns", "0.16"], "GG: TICA at a lag of 16 frames"),
    ],
)
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_plan_too_short_is_refused_before_anything_runs(
    options: list[str], said: str, dry_run: bool, tmp_path: Path
) -> None:
    suite = tmp_path / "two.toml"
    suite.write_text('name = "two"\npeptides = ["GG"]\nbudgets = [50]\nframes = 20\n[methods.md]\n')
    short = ["--flow", "", "--replicas", "4", "--tempering-ns", "0.001", "--lag-ns", "0.01"]
    line = ["reference", "--suite", str(suite), "--dir", str(tmp_path / "run"), *short, *options]
    found = CliRunner().invoke(app, [*line, *["--dry-run"] * dry_run])
    assert isinstance(found.exception, PlanError)
    assert re.search(said, str(found.exception))
    assert not (tmp_path / "run").exists()
