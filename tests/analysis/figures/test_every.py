from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis.figures.peptide import (
    FEW_FRAMES,
    Axis,
    Sample,
    energy_histogram,
    free_energy,
    ramachandran,
    tica_map,
)
from analysis.figures.scaling import curves, scaling
from analysis.figures.style import looks, new_figure, save, shared_legend, styled
from analysis.metrics.registry import BY_NAME
from analysis.scores.rows import row_order
from analysis.statistics.estimates import estimate
from prosebench.ensemble import Ensemble
from prosebench.names import FLOOR
from prosebench.peptide import Peptide
from prosebench.reference import Reference


def test_known_methods_keep_their_look_and_no_two_share_one():
    alone, together = looks(["md"]), looks(["md", "prose-snis", FLOOR, *(f"own-{i}" for i in range(12))])
    assert alone["md"] == together["md"]
    assert len(set(together.values())) == len(together)
    assert looks(["own-1"])["own-1"] == looks(["own-1", "md"])["own-1"]


def test_one_method_has_one_colour_and_one_look_at_all_temperatures():
    found = looks(["md", "md [friction_per_ps=1.0]", "md [friction_per_ps=5.0]", "md at 400 K", "smc-mala"])
    assert len({found[name].colour for name in found if name.startswith("md")}) == 1
    assert found["md at 400 K"] == found["md"]
    assert len(set(found.values())) == 4
    assert list(found) == [*dict.fromkeys(found)]
    assert row_order(["smc-mala", "md at 400 K", f"{FLOOR} at 400 K"])[0] == "smc-mala"


@pytest.mark.parametrize("number", [2, 10])
@pytest.mark.parametrize("width", [3.4, 7.0])
def test_a_legend_stays_in_its_figure(number: int, width: float):
    with styled():
        figure = new_figure(width, 2.2)
        axes = figure.subplots()
        for place in range(number):
            axes.plot([0, 1], [0, place], label=f"prose-self-improve [steps={place}5]")
        shared_legend(figure, [axes])
        figure.draw_without_rendering()
        (legend,) = figure.legends
        box, whole = legend.get_window_extent(), figure.bbox
        assert whole.x0 <= box.x0
        assert box.x1 <= whole.x1
        assert axes.get_window_extent().height > 0.4 * 2.2 * figure.dpi


def test_rows_are_ordered_by_method_with_the_floor_last():
    assert row_order(["control", "zeta", "md fast", "prose-snis"], {"control": FLOOR, "md fast": "md"}) == [
        "prose-snis",
        "md fast",
        "zeta",
        "control",
    ]


def test_saved_files_depend_on_content_alone(tmp_path: Path):
    def draw(folder: Path) -> list[bytes]:
        with styled():
            figure = new_figure(2.0, 1.5)
            figure.subplots().plot([1, 2], [3, 4])
        return [path.read_bytes() for path in save(figure, folder / "x")]

    assert draw(tmp_path / "a") == draw(tmp_path / "b")
    assert Image.open(tmp_path / "a" / "x.png").size == (600, 450)


def test_free_energy_of_a_gaussian_is_a_parabola():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(400_000, 2))
    axis = Axis(-4.0, 4.0, 80, "x", False)
    found = free_energy(points, axis, axis)
    centres = np.linspace(-3.95, 3.95, 80)
    expected = (centres[:, None] ** 2 + centres**2) / 2.0
    near = expected < 2.5
    assert np.abs(found - expected)[near].max() < 0.25
    assert np.isinf(found[0, 0])


def test_free_energy_crosses_the_seam_of_a_circle():
    axis = Axis(-180.0, 180.0, 120, "x", True)
    points = np.array([[179.9, 0.0]] * 50)
    found = free_energy(points, axis, axis)
    assert np.isfinite(found[0, 60])


@pytest.fixture(scope="module")
def samples(pool: Ensemble) -> list[Sample]:
    broken = Ensemble(
        pool.positions_nm[:40], np.where(np.arange(40) < 7, np.inf, pool.energies_kt[:40] + 500.0)
    )
    return [
        Sample("md", 100, pool.select(slice(0, 30))),
        Sample("md", 1000, pool.select(slice(0, FEW_FRAMES + 50))),
        Sample("clashing", 1000, broken),
    ]


def texts_of(figure: object) -> str:
    return "\n".join(text.get_text() for axes in figure.axes for text in axes.texts)  # type: ignore[attr-defined]


def test_energy_histogram_says_what_it_cannot_show(
    reference: Reference, samples: Sequence[Sample], tmp_path: Path
):
    figure = energy_histogram("AA", reference.scored, samples, looks(["md", "clashing"]))
    assert "clashing: 7 of 40 not finite" in texts_of(figure)
    assert "outside: clashing 82%" in texts_of(figure)
    save(figure, tmp_path / "energy")


def test_maps_show_few_frames_as_points_and_many_as_density(
    reference: Reference, pool: Ensemble, samples: Sequence[Sample], tmp_path: Path
):
    topology = Peptide.from_sequence("AA").topology
    for figure in (
        ramachandran("AA", topology, pool, samples),
        tica_map("AA", topology, reference.tica, pool, samples),
    ):
        # At the smaller budget one row has frames; there is no empty panel for the other.
        assert [len(axes.images) for axes in figure.axes[:6]] == [1, 0, 0, 1, 1, 0]
        assert [axes.axison for axes in figure.axes[:6]] == [True, True, False, True, True, True]
        assert "30 frames" in texts_of(figure)
        save(figure, tmp_path / "map")


def test_a_longer_peptide_has_a_line_for_each_inner_residue():
    stored = np.load(Path(__file__).parents[2] / "conformance" / "metrics_ARIP.npz")
    frames = Ensemble(stored["reference_positions"], stored["reference_energy_kj_mol"])
    figure = ramachandran("ARIP", Peptide.from_sequence("ARIP").topology, frames, [Sample("md", 10, frames)])
    labels = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    assert labels == [r"$\psi_{2}$ (deg)", r"$\psi_{3}$ (deg)", "free energy (kT)"]


def test_six_methods_are_wrapped(pool: Ensemble):
    topology = Peptide.from_sequence("AA").topology
    many = [Sample(f"method-{i}", 100, pool.select(slice(0, 30))) for i in range(6)]
    figure = ramachandran("AA", topology, pool, many)
    assert len([axes for axes in figure.axes if axes.get_title(loc="left")]) == 7


def long_table(values: dict[str, dict[int, float]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "length": 2,
                "peptide": peptide,
                "row": row,
                "method": row,
                "budget": budget,
                "seed": seed,
                "metric": "energy-w2",
                "value": value * (1.0 + 0.1 * seed),
                "status": "done",
                "weighting": "",
                "temperature_kelvin": 310.0,
                "reference_spread": np.nan,
                "reference_error": np.nan,
            }
            for row, by_budget in values.items()
            for budget, value in by_budget.items()
            for peptide in ("AA", "KG")
            for seed in (0, 1)
        ]
    )


def test_scaling_draws_lines_the_floor_and_marks_infinity(tmp_path: Path):
    table = long_table(
        {
            "md": {100: 3.0, 1000: 1.0},
            "clashing": {100: np.inf, 1000: 2.0},
            FLOOR: {100: 0.1, 1000: 0.1},
        }
    )
    found, levels = curves(table, BY_NAME["energy-w2"])
    assert [curve.row for curve in found] == ["md", "clashing"]
    assert found[0].estimates[0].value == pytest.approx(3.0 * 1.1**0.5)
    assert levels[FLOOR].value == pytest.approx(0.1 * 1.1**0.5)
    figure = scaling(table, ["energy-w2"])
    assert r"$\infty$" in texts_of(figure)
    assert figure.axes[0].get_xscale() == figure.axes[0].get_yscale() == "log"
    save(figure, tmp_path / "scaling")


def test_each_budget_ends_at_the_floor_of_that_budget():
    """Few frames have a floor of 1, many one of 0.1: what bounds one budget says nothing of the other."""
    table = long_table({"md": {100: 1.5, 1000: 0.12}, FLOOR: {100: 1.0, 1000: 0.1}})
    spread = table["peptide"].map({"AA": 0.2, "KG": 5.0})
    table["value"] *= spread.where(table["row"] == "md", 1.0 + 0.1 * (table["peptide"] == "KG"))
    (found,), _ = curves(table, BY_NAME["energy-w2"])
    for budget, one in zip(found.budgets, found.estimates, strict=True):
        floor = table[(table["row"] == FLOOR) & (table["budget"] == budget)]
        assert one.low == pytest.approx(estimate(floor, scale="log").low)
        assert one.low < estimate(floor, scale="log").value


def test_scaling_of_nothing_says_so():
    empty = long_table({"md": {100: 1.0}}).iloc[:0]
    assert "nothing scored" in texts_of(scaling(empty, ["energy-w2"]))
