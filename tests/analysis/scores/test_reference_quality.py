"""The table that says how far a reference can be trusted."""

import re
from pathlib import Path

import pytest

from analysis.metrics.registry import DISTANCE_NAMES
from analysis.scores.convergence import ERRORS, WAYS, floor
from analysis.scores.reference_quality import judged_floor, quality_statement, quality_view, reference_quality
from prosebench.reference import Reference, bundled_folder
from prosebench.store.storage import read_json


@pytest.fixture(scope="module")
def known() -> Reference:
    return Reference.load(bundled_folder() / "VF.npz")


def test_every_number_stands_in_its_column(known: Reference) -> None:
    view = quality_view(reference_quality(known.convergence, known.floor))
    assert view["columns"] == [
        "8 groups, mean",
        "largest",
        "parallel tempering",
        "plain MD",
        "floor",
        "standard error that it adds",
    ]
    assert [line["metric"] for line in view["lines"]][:3] == ["E-W1 (kT)", "E-W2 (kT)", "T-W2 (rad)"]
    assert len(view["lines"]) == len(DISTANCE_NAMES)
    (torus,) = (line["values"] for line in view["lines"] if line["metric"] == "T-W2 (rad)")
    spread = known.convergence["spread"]["torus-w2"]
    expected = [
        spread["mean"],
        spread["max"],
        known.convergence["tempering"]["torus-w2"],
        known.convergence["plain-md"]["torus-w2"],
        known.floor["torus-w2"],
        known.convergence[ERRORS]["torus-w2"],
    ]
    assert [float(value) for value in torus] == pytest.approx(expected, rel=5e-3)
    assert dict(view["facts"])["independent frames"] == f"{known.convergence['effective_frames']:,.0f}"


def test_what_was_not_measured_has_no_column(known: Reference) -> None:
    alone = {name: value for name, value in known.convergence.items() if name not in (*WAYS, ERRORS)} | {
        "spread": {}
    }
    view = quality_view(reference_quality(alone, known.floor))
    assert view["columns"] == ["floor"]
    assert (view["groups"], view["ways"]) == (0, [])


def test_a_way_that_was_not_compared_has_no_column(known: Reference) -> None:
    """Older references know of tempering alone."""
    older = {name: value for name, value in known.convergence.items() if name != "plain-md"}
    assert quality_view(reference_quality(older, known.floor))["ways"] == ["parallel tempering"]


def test_the_floor_is_of_the_halves_of_today_and_computed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file states the floor of the day on which it was made, which may be of halves of the same trajectories."""
    stored = Reference.load(bundled_folder() / "AA.npz")
    too_low = {name: value if name == "frames" else 0.5 * value for name, value in stored.floor.items()}
    reference = stored.with_quality(stored.convergence, too_low)
    expected = floor(reference, int(reference.floor["frames"]))
    assert expected == pytest.approx(stored.floor)
    assert judged_floor(reference, tmp_path) == expected
    monkeypatch.setattr("analysis.scores.reference_quality.floor", None)
    assert judged_floor(reference, tmp_path) == expected
    said = re.search(r"torus-w2 \S+ \(largest \S+, floor (\S+)\)", quality_statement(reference, tmp_path))
    assert said
    assert float(said[1]) == pytest.approx(expected["torus-w2"], rel=5e-3)
    (path,) = tmp_path.iterdir()
    assert set(read_json(path)) == set(expected)
    assert judged_floor(reference.with_quality({}, {}), tmp_path) == {}
