"""Metrics against stored numbers of the published implementation."""

from pathlib import Path

import numpy as np
import pytest

from analysis.metrics.vectors import check_metrics

VECTORS = sorted((Path(__file__).parents[2] / "conformance").glob("metrics_*.npz"))


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_published_numbers_are_reproduced(path):
    checks = check_metrics(path)
    assert len(checks) == 14
    assert [check for check in checks if not check.passed] == []


def test_a_changed_number_is_found(tmp_path):
    arrays = dict(np.load(VECTORS[0]))
    arrays["log_weights"][3] += 1.0
    arrays["sample_energy_kj_mol"][0] += 0.1
    arrays["chirality_changed"][0] ^= True
    np.savez(tmp_path / "metrics_AA.npz", **arrays)
    failed = {check.quantity for check in check_metrics(tmp_path / "metrics_AA.npz") if not check.passed}
    assert {"ess", "sample energies", "chirality flags"} <= failed


def test_another_order_of_atoms_is_sorted_out(tmp_path):
    arrays = dict(np.load(VECTORS[0]))
    meta = str(arrays["meta"]).replace('"1ALA-HB1", "1ALA-HB2"', '"1ALA-HB2", "1ALA-HB1"')
    assert meta != str(arrays["meta"])
    one, two = 9, 10
    for name in ("reference_positions", "sample_positions", "sample_positions_mirrored", "com_x"):
        arrays[name][:, [one, two]] = arrays[name][:, [two, one]]
    np.savez(tmp_path / "metrics_AA.npz", **(arrays | {"meta": np.array(meta)}))
    assert all(check.passed for check in check_metrics(tmp_path / "metrics_AA.npz"))


def test_other_atoms_are_reported(tmp_path):
    arrays = dict(np.load(VECTORS[0]))
    arrays["meta"] = np.array(str(arrays["meta"]).replace("2ALA-OXT", "2ALA-XXX"))
    np.savez(tmp_path / "metrics_AA.npz", **arrays)
    checks = check_metrics(tmp_path / "metrics_AA.npz")
    assert [(check.error, check.passed) for check in checks] == [(2.0, False)]
