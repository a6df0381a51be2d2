import numpy as np
import pytest

from analysis.figures.peptide_data import CellFrames
from analysis.figures.smc import PANELS, annealing, by_chunk
from analysis.figures.style import looks
from prosebench.ensemble import Ensemble

FRAMES = Ensemble(np.zeros((1, 2, 3)), np.zeros(1))


def cell(row: str, **numbers: list[float | None]) -> CellFrames:
    named = {name.replace("_", "-"): values for name, values in numbers.items()}
    return CellFrames(row, 600, 0, FRAMES, False, None, named)


def test_a_panel_a_quantity_against_time() -> None:
    mala = cell(
        "smc-mala",
        t=[None, 0.5, 1.0],
        ess=[None, 0.9, 0.8],
        acceptance=[None, 0.7, 0.6],
        step_nm2=[None, 2e-6, 8e-6],
        ancestors=[None, 0.5, 0.2],
    )
    ula = cell("smc-ula", t=[0.5, 1.0], ess=[0.9, 0.8], step_nm2=[1e-8, 1e-8], ancestors=[0.5, 0.1])
    figure = annealing([mala, ula, cell("md")], looks(["smc-mala", "smc-ula", "md"]))
    assert figure is not None
    panels = dict(zip(PANELS, figure.axes, strict=True))
    assert panels["ess"].lines[0].get_xydata().tolist() == [[0.5, 0.9], [1.0, 0.8]]
    assert panels["step-nm2"].lines[0].get_ydata() == pytest.approx([2.0, 4.0])
    assert len(panels["acceptance"].lines[1].get_xdata()) == 0
    assert panels["ancestors"].get_yscale() == "log"


def test_unadjusted_moves_have_no_acceptance_and_others_no_figure() -> None:
    ula = cell("smc-ula", t=[1.0], ess=[0.8], step_nm2=[1e-8], ancestors=[0.1])
    figure = annealing([ula], looks(["smc-ula"]))
    assert figure is not None
    assert [text.get_text() for text in figure.axes[1].texts] == ["moves are taken\nas they are"]
    assert annealing([cell("md", acceptance=[0.5])], looks(["md"])) is None


def test_what_a_chunk_says_is_not_what_a_step_says() -> None:
    smc = cell("smc", t=[1.0], ess=[0.8], log_z=[3.0], acceptance=[0.5], mirrored=[None, 0.1])
    assert by_chunk(smc).diagnostics == {"mirrored": [None, 0.1]}
    md = cell("md", acceptance=[0.5])
    assert by_chunk(md).diagnostics == md.diagnostics
