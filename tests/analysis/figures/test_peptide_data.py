from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.figures.drawing import Drawing
from analysis.figures.peptide_data import (
    CellFrames,
    Cores,
    PeptideData,
    energy_overlap,
    find_cores,
    find_states,
    load_peptide,
)
from analysis.figures.peptide_page import page_markdown, page_numbers
from analysis.figures.states import diagnostics, populations, walks, weight_traces
from analysis.figures.style import looks
from prosebench.ensemble import Ensemble
from prosebench.record import cell_folders, read_cell
from prosebench.reference import Reference


@pytest.fixture(scope="module")
def data(run_folder: Path, reference: Reference) -> PeptideData:
    folders = {read_cell(folder).id: folder for folder in cell_folders(run_folder)}
    rows = ("md", "flow_a&b")
    cells = [
        (cell.row, 600, cell.id)
        for cell in map(read_cell, folders.values())
        if cell.row in rows and cell.peptide == "AA"
    ]
    return load_peptide("AA", reference, cells, folders)


def test_cells_know_whether_they_walk_and_how_their_weights_fare(data: PeptideData):
    kinds = {cell.row: (cell.one_walker, cell.ess_trace is not None) for cell in data.cells}
    assert kinds == {"md": (True, False), "flow_a&b": (False, True)}
    numbers, values = next(cell.ess_trace for cell in data.cells if cell.ess_trace)
    assert (numbers[0], numbers[-1]) == (100, 600)
    assert ((values > 0.1) & (values < 1.0)).all()


def test_states_are_ordered_shares_of_the_reference(data: PeptideData):
    states = find_states(data)
    assert states.reference.sum() == pytest.approx(1.0)
    assert (np.diff(states.reference) <= 0).all()
    assert states.shares(data.components(data.truth)) == pytest.approx(states.reference)
    broken = data.components(data.truth)
    broken[:15] = np.nan
    assert states.shares(broken).sum() == pytest.approx(1.0 - 15 / len(broken))


def test_errors_of_populations_follow_the_effective_number_of_frames(data: PeptideData):
    few = replace(data, reference=data.reference.with_quality({"effective_frames": 10.0}, {}))
    many = replace(data, reference=data.reference.with_quality({"effective_frames": 1000.0}, {}))
    assert find_states(few).error == pytest.approx(10.0 * find_states(many).error)


def test_round_trips_count_whole_crossings_between_cores():
    cores = Cores(0.0, 1.0)
    assert cores.round_trips(np.array([-0.1, 0.5, 1.1, 0.5, -0.1])) == 1.0
    assert cores.round_trips(np.array([-0.1, 0.6, 0.4, 0.9, -0.1])) == 0.0
    assert cores.round_trips(np.array([2.0, 2.0, -1.0])) == 0.5
    assert cores.round_trips(np.array([0.5, np.nan])) == 0.0
    found = find_cores(np.concatenate([np.full(980, -3.0), np.full(20, 3.0)]))
    assert (found.low, found.high) == pytest.approx((-1.0, 1.0))


def test_overlap_of_energies():
    values = np.random.default_rng(0).normal(size=4000)
    assert energy_overlap(values, values) == pytest.approx(1.0)
    assert energy_overlap(values + 100.0, values) == pytest.approx(0.0, abs=1e-3)
    # Two unit normals one apart share 2 Phi(-1/2).
    assert energy_overlap(values + 1.0, values) == pytest.approx(0.617, abs=0.03)
    half = np.where(np.arange(4000) % 2 == 0, np.inf, values)
    assert energy_overlap(half, values) == pytest.approx(0.5, abs=0.03)


def test_the_page_holds_the_numbers_and_only_the_figures_there_are(data: PeptideData):
    states, cores = find_states(data), find_cores(data.walk(data.truth))
    numbers = page_numbers(data, states, cores, "A reference of many frames.")
    by_row = {row["row"]: row for row in numbers["rows"]}
    assert by_row["flow_a&b"]["round_trips"] is None
    assert len(by_row["md"]["round_trips"]) == 2
    assert sum(by_row["md"]["populations"]) == pytest.approx(1.0)
    shown = [Drawing(f"AA-{kind}", f"what {kind} shows", lambda: None, kind) for kind in ("energy", "states")]
    text = page_markdown(numbers, shown, ["png"])
    assert text.startswith("# AA\n\nA reference of many frames.\n")
    assert "AA-energy.png)\n\nwhat energy shows" in text
    assert "AA-walks" not in text
    assert ".pdf" not in text
    assert f"{by_row['md']['energy_overlap']:.3f}" in text


def test_figures_of_states_walks_and_weights(data: PeptideData):
    look = looks(["md", "flow_a&b"])
    states, cores = find_states(data), find_cores(data.walk(data.truth))
    assert len(populations(data, states, look).axes) == 3
    walk = walks(data, cores, look)
    assert walk is not None
    assert "round trips (by seed)" in walk.axes[0].get_title(loc="left")
    traces = weight_traces(data, look)
    assert traces is not None
    assert len(traces.axes[0].lines) == 2
    assert diagnostics(data, look) is None


def test_diagnostics_have_a_panel_each_and_skip_missing_numbers(data: PeptideData):
    frames = Ensemble(data.truth.positions_nm[:3], data.truth.energies_kt[:3])
    cell = CellFrames(
        "md", 600, 0, frames, False, None, {"acceptance": [0.2, None, 0.4], "step-size": [1.0, 2.0, 3.0]}
    )
    figure = diagnostics(replace(data, cells=(cell,)), looks(["md"]))
    assert figure is not None
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["accepted moves", "step size"]
    assert figure.axes[0].lines[0].get_xdata().tolist() == [1, 3]
    assert walks(replace(data, cells=(cell,)), Cores(0.0, 1.0), looks(["md"])) is None
    assert weight_traces(replace(data, cells=(cell,)), looks(["md"])) is None
