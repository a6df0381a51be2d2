"""Log-weights that a flow gives to frames of a reference: on the scale of those of its proposals."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.metrics.coverage import log_z, log_z_bar
from jobs.making.reference_weights import MOST_PARAMETERS, write_reference_weights
from prosebench.arbg.snis import ArbgSNIS
from prosebench.flows.snis import _load
from prosebench.prose.snis import ProseSNIS
from prosebench.reference import Reference, bundled_folder
from prosebench.store.places import PUBLISHED_WEIGHTS
from tests.analysis.conftest import RunBuilder
from tests.jobs.conftest import run

ROWS: dict[str, dict[str, Any]] = {
    "arbg-snis": ArbgSNIS.Settings(weights="wells").model_dump(),
    "prose-snis": ProseSNIS.Settings(weights="breathing").model_dump(),
}


@pytest.fixture
def builder(tmp_path: Path) -> RunBuilder:
    return RunBuilder(tmp_path / "run")


def finished(
    builder: RunBuilder, row: str, settings: dict[str, Any], peptide: str = "AA", seed: int = 0
) -> Path:
    """A finished cell of a flow: frames of the reference stand for its proposals."""
    frames = Reference.load(bundled_folder() / f"{peptide}.npz").ensemble.select(slice(0, 60))
    frames = type(frames)(frames.positions_nm, frames.energies_kt, np.zeros(60), np.arange(1, 61))
    cell = builder.cell(row=row, settings=settings, peptide=peptide, seed=seed, budgets=(60,))
    return builder.done(cell, frames)


def made(builder: RunBuilder) -> list[Path]:
    return sorted(path for path in builder.directory.rglob("*.npz") if path.name != "ensemble.npz")


def test_each_flow_is_loaded_once_and_seeds_share_a_file(builder: RunBuilder) -> None:
    for peptide in ("AA", "KG"):
        for row, settings in ROWS.items():
            for seed in (0, 1):
                finished(builder, row, settings, peptide, seed)
    finished(builder, "md", {})
    _load.cache_clear()
    assert write_reference_weights(builder.directory, []) == []
    assert _load.cache_info().misses == len(ROWS)
    paths = made(builder)
    assert len(paths) == 4
    for path in paths:
        (weights,) = np.load(path).values()
        assert weights.shape == (60,)
        assert np.isfinite(weights).any()
    _load.cache_clear()
    assert write_reference_weights(builder.directory, []) == []
    assert (_load.cache_info().misses, made(builder)) == (0, paths)


def test_some_cells_alone(builder: RunBuilder) -> None:
    finished(builder, "arbg-snis", ROWS["arbg-snis"])
    other = finished(builder, "arbg-snis", ROWS["arbg-snis"], "KG")
    assert write_reference_weights(builder.directory, [], [other]) == []
    assert len(made(builder)) == 1


def test_published_weights_that_are_not_here_are_neither_loaded_nor_asked_for(
    builder: RunBuilder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def asked() -> str:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("prosebench.flows.weights.files.hub_problem", asked)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    for name in PUBLISHED_WEIGHTS:
        finished(builder, "prose-snis", ROWS["prose-snis"] | {"weights": name})
    assert write_reference_weights(builder.directory, []) == []
    assert made(builder) == []


def test_a_flow_that_is_too_large_for_a_cpu_is_not_even_loaded(
    builder: RunBuilder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PROSEBENCH_DEVICE", "cpu")
    path = tmp_path / "large.npz"
    with path.open("wb") as file:
        file.truncate(4 * MOST_PARAMETERS + 1)
    finished(builder, "prose-snis", ProseSNIS.Settings(weights=str(path)).model_dump())
    assert write_reference_weights(builder.directory, []) == []
    with path.open("wb") as file:
        file.truncate(1000)
    finished(builder, "prose-snis", ProseSNIS.Settings(weights=str(path)).model_dump())
    said = write_reference_weights(builder.directory, [])
    assert any("large.npz" in line for line in said)


FAULTS: dict[str, Callable[[Path], tuple[dict[str, Any], str]]] = {
    "other weights": lambda folder: (
        ROWS["prose-snis"] | {"weights_sha256": "0" * 64},
        "prose-snis: breathing has changed since this cell was planned",
    ),
    "no such file": lambda folder: (
        ROWS["prose-snis"] | {"weights": str(folder / "gone.npz")},
        f"prose-snis: there is no weights file {folder / 'gone.npz'}",
    ),
    "no such setting": lambda folder: (
        ROWS["prose-snis"] | {"blessed": True},
        "prose-snis: unknown key 'blessed'",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_fails_is_said_and_others_are_made(name: str, builder: RunBuilder, tmp_path: Path) -> None:
    settings, said = FAULTS[name](tmp_path)
    finished(builder, "prose-snis", settings)
    finished(builder, "arbg-snis", ROWS["arbg-snis"])
    (reason,) = write_reference_weights(builder.directory, [])
    assert reason.startswith(said)
    assert len(made(builder)) == 1


@pytest.mark.parametrize("damage", [b"no reference", b"", None])
def test_a_reference_that_cannot_be_read_stops_no_other(
    damage: bytes | None, builder: RunBuilder, tmp_path: Path
) -> None:
    for peptide in ("AA", "KG"):
        finished(builder, "arbg-snis", ROWS["arbg-snis"], peptide)
    path = tmp_path / "references" / "AA.npz"
    path.parent.mkdir()
    if damage is None:
        # It can be opened, and reading fails as on a broken disk.
        path.symlink_to("/proc/self/mem")
    else:
        path.write_bytes(damage)
    assert write_reference_weights(builder.directory, [path.parent]) == []
    assert len(made(builder)) == 1


def test_a_share_scores_with_these_weights_and_nothing_is_scored_again(builder: RunBuilder) -> None:
    finished(builder, "arbg-snis", ROWS["arbg-snis"])
    finished(builder, "prose-snis", FAULTS["no such setting"](builder.directory)[0])
    scoring = [sys.executable, "-m", "prosebench.cli", "score", str(builder.directory)]
    said = run(*scoring, "--share", "0/1").stderr
    assert "not made: weights of reference frames: prose-snis: unknown key 'blessed'" in said
    kept = {path: path.stat().st_mtime_ns for path in (builder.directory / "scores").glob("*.json")}
    assert len(kept) == 3
    run(*scoring)
    assert kept == {path: path.stat().st_mtime_ns for path in (builder.directory / "scores").glob("*.json")}


def test_proposals_that_are_weighted_as_given_frames_keep_their_weights() -> None:
    """Frames of the flow itself, scored as if they came from elsewhere: the same log Z, whichever way it is found."""
    reference = Reference.load(bundled_folder() / "AA.npz")
    method = ProseSNIS(ProseSNIS.Settings(weights="prose-mini"))
    ensemble = method.settings.load().sample("AA", 300, seed=0)
    assert ensemble.log_weights is not None
    again = method.frame_log_weights(reference.peptide, ensemble, 310.0)
    assert again is not None
    sound = np.isfinite(ensemble.log_weights)
    # Centre and orientation are drawn anew, and the flow is not quite blind to them: a spread, and no shift.
    difference = again[sound] - ensemble.log_weights[sound]
    assert np.median(difference) == pytest.approx(0.0, abs=0.15)
    truth = method.frame_log_weights(reference.peptide, reference.scored.select(slice(0, 300)), 310.0)
    assert truth is not None
    assert log_z_bar(ensemble.log_weights, truth) - log_z(ensemble.log_weights) > -1.0
    other = ProseSNIS(ProseSNIS.Settings(weights="prose-mini", com="published"))
    assert other.frame_log_weights(reference.peptide, ensemble, 310.0) is None
