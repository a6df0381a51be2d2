"""Minimisation: near the minimum that another program finds, within its limit, and the same bits on every processor."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from prosebench.energy.analytic import HarmonicTarget
from prosebench.energy.meter import Meter
from prosebench.energy.minimise import minimisation_limit, minimised
from prosebench.energy.settings import TargetSettings, make_target
from prosebench.peptide import Peptide

ROOT = Path(__file__).parents[3]
PRINT_HASH = """
import hashlib
from tests.prosebench.energy.test_minimise import stretched
print(hashlib.sha256(stretched("PGTI")[0].tobytes()).hexdigest())
"""


def stretched(sequence: str) -> tuple[np.ndarray, float, int]:
    """A peptide that is minimised from noise on its start, its energy, and how many evaluations that took."""
    peptide = Peptide.from_sequence(sequence)
    target = make_target(peptide, TargetSettings())
    meter = Meter(target, 1)
    noise = np.random.default_rng(0).normal(scale=0.01, size=peptide.start_nm.shape)
    with meter.phase("preparation"):
        found = minimised(meter, peptide.start_nm + noise, 200)
    return found, float(target.energy(found[None])[0]), meter.ledger.preparation.evaluations


@pytest.mark.parametrize("sequence", ["AA", "PGTI", "WHML"])
def test_as_low_as_another_program_goes(sequence: str) -> None:
    peptide = Peptide.from_sequence(sequence)
    target = make_target(peptide, TargetSettings())

    def of_flat(flat: np.ndarray) -> tuple[float, np.ndarray]:
        energies, gradients = target.energy_and_gradient(flat.reshape(1, -1, 3))
        return float(energies[0]), gradients[0].ravel()

    noise = np.random.default_rng(0).normal(scale=0.01, size=peptide.start_nm.shape)
    start = (peptide.start_nm + noise).ravel()
    other = minimize(of_flat, start, jac=True, method="L-BFGS-B", options={"maxiter": 200})
    _, energy, evaluations = stretched(sequence)
    assert energy < other.fun + 3.0
    assert evaluations <= minimisation_limit(200)


def test_the_minimum_of_wells_is_their_centre() -> None:
    peptide = Peptide.from_sequence("AA")
    meter = Meter(HarmonicTarget(peptide.start_nm), 1)
    with meter.phase("preparation"):
        found = minimised(meter, peptide.start_nm + 0.1, 50)
    np.testing.assert_allclose(found, peptide.start_nm, atol=1e-4)
    assert meter.ledger.preparation.evaluations <= 20


def test_no_steps_cost_nothing() -> None:
    peptide = Peptide.from_sequence("AA")
    meter = Meter(HarmonicTarget(peptide.start_nm + 1.0), 1)
    np.testing.assert_array_equal(minimised(meter, peptide.start_nm, 0), peptide.start_nm)
    assert meter.ledger.preparation.evaluations == minimisation_limit(0) == 0


@pytest.mark.parametrize("core", ["Haswell", "Zen"])
def test_the_same_bits_with_the_linear_algebra_of_any_processor(core: str) -> None:
    """What an older processor adds in another order must not lead to another start of dynamics."""
    expected = hashlib.sha256(stretched("PGTI")[0].tobytes()).hexdigest()
    found = subprocess.run(
        [sys.executable, "-c", PRINT_HASH],
        env=os.environ | {"OPENBLAS_CORETYPE": core},
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert found.stdout.strip() == expected
