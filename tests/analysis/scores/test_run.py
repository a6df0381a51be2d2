import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.metrics.frames import prefix
from analysis.metrics.score import score
from analysis.scores import run as module
from analysis.scores.run import NO_REFERENCE, _costs, score_run, scoring_seed
from analysis.scores.table import COLUMNS, read_scores, under, write_scores
from prosebench.ensemble import Ensemble
from prosebench.record import read_provenance, read_record
from prosebench.reference import Reference
from prosebench.store.storage import read_json, write_json
from tests.analysis.conftest import BUDGETS, FRAMES, RunBuilder, fill_run, with_evaluations


@pytest.fixture(scope="module")
def table(run_folder: Path, reference_folder: Path) -> pd.DataFrame:
    return score_run(run_folder, [reference_folder])


def metrics(table: pd.DataFrame, **where: object) -> dict[str, float]:
    chosen = table if "weighting" in where else under(table)
    for name, value in where.items():
        chosen = chosen[chosen[name] == value]
    assert not chosen.metric.duplicated().any()
    return dict(zip(chosen.metric, chosen.value, strict=True))


def test_every_cell_stands_in_the_table_at_every_budget(table: pd.DataFrame):
    assert tuple(table.columns) == COLUMNS
    marks = table.groupby(["peptide", "row", "seed", "budget"]).ngroups
    assert marks == 7 * 2 * 2
    assert set(table[table.row == "md"].length) == {2}


def test_values_are_those_of_score_on_the_prefix(
    table: pd.DataFrame, pool: Ensemble, reference: Reference, tmp_path: Path
):
    cell = RunBuilder(tmp_path).cell(seed=1)
    ensemble = with_evaluations(pool.select(np.arange(100, 220)), np.arange(1, 121) * 5)
    for budget in BUDGETS:
        expected = score(prefix(ensemble, budget), reference, n_frames=FRAMES, seed=scoring_seed(cell))
        found = table[(table.row == "md") & (table.peptide == "AA") & (table.seed == 1)]
        found = found[found.budget == budget].set_index(["metric", "weighting"])
        for key, number in expected.numbers.items():
            assert tuple(found.loc[key, ["value", "reference_error", "gap"]]) == pytest.approx(
                tuple(number), nan_ok=True, rel=0, abs=0
            )
        assert set(found["frames"]) == {expected.frames}


def test_a_weighted_row_has_the_scores_of_its_proposals_at_its_first_budget(table: pd.DataFrame):
    first, last = (metrics(table, row="flow_a&b", seed=0, budget=budget) for budget in BUDGETS)
    plain, filtered = (
        metrics(table, row="flow_a&b", seed=0, budget=BUDGETS[0], weighting=one)
        for one in ("unweighted", "filtered")
    )
    assert filtered["energy-w2"] not in (plain["energy-w2"], first["energy-w2"])
    assert filtered["ess-bound"] > first["ess-bound"]
    assert plain["energy-w2"] > 0.0
    assert plain["energy-w2"] != first["energy-w2"]
    assert not metrics(table, row="flow_a&b", seed=0, budget=BUDGETS[1], weighting="unweighted")
    assert np.isfinite(last["k-hat"])
    assert set(table[table.row == "md"].weighting) == {""}


def test_costs_stand_beside_the_metrics(table: pd.DataFrame):
    small = metrics(table, peptide="AA", row="md", seed=0, budget=60)
    large = metrics(table, peptide="AA", row="md", seed=0, budget=600)
    assert (small["sampling-evaluations"], large["sampling-evaluations"]) == (60, 600)
    assert large["preparation-evaluations"] == 50
    assert large["wall-seconds"] == 7.0
    assert small["sampling-seconds"] == small["device-seconds"] == pytest.approx(0.6)
    assert "failures" in large
    assert "failures" not in small


@pytest.mark.parametrize(("device", "times"), [("cpu", 6), ("NVIDIA H100", 3)])
def test_device_seconds_count_every_core_or_accelerator(
    run_folder: Path, tmp_path: Path, device: str, times: int
):
    source = next(one for one in (run_folder / "cells").iterdir() if "-md-" in one.name and "AA" in one.name)
    folder = Path(shutil.copytree(source, tmp_path / source.name))
    where = read_provenance(folder).model_copy(update={"device": device, "ranks": 3, "threads": 2})
    write_json(folder / "provenance.json", where.model_dump(mode="json"))
    found = {name: number.value for (name, _), number in _costs(folder, read_record(folder), 60).items()}
    assert found["device-seconds"] == pytest.approx(times * 0.6)
    assert found["sampling-seconds"] == pytest.approx(0.6)


def test_a_prefix_with_few_frames_is_partial(table: pd.DataFrame):
    rows = table[(table.row == "md") & (table.peptide == "AA") & (table.budget == 60)]
    assert set(rows.status) == {"partial"}
    assert set(rows.reason) == {"12 of 60 frames"}
    assert set(rows.frames) == {12}


def test_cells_without_metrics_say_why(table: pd.DataFrame):
    for row, status, word in (("tbg", "skipped", "proline"), ("smc", "failed", "blew up")):
        lines = table[table.row == row]
        assert set(lines.status) == {status}
        assert lines.reason.str.contains(word).all()
        assert lines.value.isna().all()
    assert set(table[table.peptide == "KG"].status) == {"waiting"}


def test_an_infinite_energy_is_an_infinite_distance(table: pd.DataFrame, tmp_path: Path):
    found = metrics(table, row="clashing", seed=0, budget=600)
    assert found["energy-w2"] == np.inf
    path = write_scores(tmp_path, table)
    pd.testing.assert_frame_equal(read_scores(path), table)
    first = path.read_bytes()
    write_scores(tmp_path, read_scores(path))
    assert path.read_bytes() == first


def test_without_a_reference_only_costs_are_known(run_folder: Path, tmp_path: Path, pool: Ensemble):
    run = RunBuilder(tmp_path)
    gg = run.cell(peptide="GGG", budgets=(60,))
    run.done(gg, Ensemble(np.zeros((4, 24, 3)), np.zeros(4), None, np.arange(1, 5) * 15))
    table = score_run(tmp_path)
    assert set(table.status) == {"unscored"}
    assert set(table.reason) == {NO_REFERENCE}
    assert "sampling-evaluations" in set(table.metric)


def test_scoring_again_reads_what_is_stored_and_gives_the_same(
    pool: Ensemble,
    reference: Reference,
    reference_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    fill_run(RunBuilder(tmp_path), pool, reference)
    first = score_run(tmp_path, [reference_folder])
    monkeypatch.setattr(module, "score", None)
    pd.testing.assert_frame_equal(score_run(tmp_path, [reference_folder]), first)
    monkeypatch.setattr(module, "SCORE_VERSION", 99)
    faults = score_run(tmp_path, [reference_folder])
    faults = faults[faults.reason.str.startswith(module.FAULT)]
    assert len(faults)
    assert set(faults.status) == {"unscored"}
    assert faults.reason.str.contains(r"TypeError: .* \(run\.py, line \d+\)$").all()


def test_a_damaged_cell_or_record_does_not_stop_the_others(
    pool: Ensemble, reference: Reference, reference_folder: Path, tmp_path: Path
):
    run = RunBuilder(tmp_path)
    ensemble = with_evaluations(pool.select(slice(0, 60)), np.arange(1, 61) * 10)
    good, bad, foreign = (run.done(run.cell(seed=seed), ensemble) for seed in range(3))
    (bad / "ensemble.npz").write_bytes(b"other")
    (foreign / "cell.json").write_text("{")
    table = score_run(tmp_path, [reference_folder])
    (failed,) = table[table.status == "failed"].reason
    assert "not a JSON" in failed
    damaged = table[table.status == "unscored"]
    assert len(damaged) == len(BUDGETS)
    assert damaged.reason.str.contains("ensemble.npz has changed").all()
    assert metrics(table, seed=0, budget=600, status="done")["torus-w2"] >= 0.0
    assert good.exists()


def test_a_reference_of_another_temperature_is_refused(pool: Ensemble, reference: Reference, tmp_path: Path):
    run = RunBuilder(tmp_path)
    replace(reference, temperature_kelvin=400.0).save(tmp_path / "AA.npz")
    run.done(run.cell(), with_evaluations(pool.select(slice(0, 60)), np.arange(1, 61) * 10))
    table = score_run(tmp_path, [tmp_path])
    assert set(table.status) == {"unscored"}
    assert table.reason.str.contains("400").all()


def test_a_cell_with_more_frames_than_the_reference_is_compared_on_as_many(
    pool: Ensemble, reference: Reference, reference_folder: Path, tmp_path: Path
):
    """Else a perfect sampler scores less than the floor, where both sides are as many, and the control is partial."""
    run = RunBuilder(tmp_path)
    md = with_evaluations(pool, np.arange(1, 601))
    cell = run.cell(budgets=(600,), frames=600)
    run.done(cell, md)
    spare = with_evaluations(reference.spare, np.arange(1, len(reference.spare) + 1))
    run.done(run.cell(row="reference-draw", settings={}, budgets=(600,), frames=600), spare, preparation=0)
    scores = score_run(tmp_path, [reference_folder])
    n_scored = len(reference.scored)
    assert n_scored < 600
    assert set(scores.status) == {"done"}
    assert set(scores.frames) == {n_scored}
    fair = score(md, reference, n_frames=n_scored, seed=scoring_seed(cell))
    assert metrics(scores, row="md")["torus-w2"] == fair.value("torus-w2")


def test_rows_with_other_settings_stand_apart_and_other_budgets_do_not(
    pool: Ensemble, reference_folder: Path, tmp_path: Path
):
    run = RunBuilder(tmp_path)
    ensemble = with_evaluations(pool.select(slice(0, 60)), np.arange(1, 61) * 10)
    run.done(run.cell(), ensemble)
    run.done(run.cell(settings={"friction_per_ps": 1.0}), ensemble)
    run.waiting(run.cell(budgets=(60, 600, 6000)))
    table = score_run(tmp_path, [reference_folder])
    assert set(table.row) == {"md [friction_per_ps=0.3]", "md [friction_per_ps=1.0]"}
    first = table[table.row == "md [friction_per_ps=0.3]"]
    assert first[first.metric == "torus-w2"].budget.tolist() == [60, 600]
    assert first[first.status == "waiting"].budget.tolist() == [6000]


def test_the_end_of_the_annealing_is_in_the_scores(tmp_path: Path, pool: Ensemble) -> None:
    run = RunBuilder(tmp_path)
    cells = {
        end: run.cell(peptide="GGG", budgets=(60,), seed=seed) for seed, end in enumerate((1.0, 0.98, None))
    }
    for end, cell in cells.items():
        folder = run.done(cell, Ensemble(np.zeros((4, 24, 3)), np.zeros(4), None, np.arange(1, 5) * 15))
        content = read_json(folder / "record.json")
        write_json(folder / "record.json", content | {"diagnostics": {"t": [0.5, end]} if end else {}})
    table = score_run(tmp_path)
    ends = table[table["metric"] == "annealed-to"]
    assert dict(zip(ends["seed"], ends["value"], strict=True)) == {0: 1.0, 1: 0.98}
