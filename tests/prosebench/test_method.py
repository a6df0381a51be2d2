"""Chunks that a method may return, and random numbers that depend on the cell and the chunk alone."""

import hashlib
from functools import cache
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from prosebench.energy.analytic import HarmonicTarget
from prosebench.energy.meter import Meter
from prosebench.ensemble import Ensemble
from prosebench.method import Chunk, MethodSettings, Run, UnknownMethod, check_chunk, load_method
from prosebench.peptide import Peptide

ATOMS = 4


def frames(*claims: int, atoms: int = ATOMS, **changes: Any) -> Ensemble:
    given: dict[str, Any] = {"energies_kt": np.zeros(len(claims)), "evaluations": np.array(claims)}
    return Ensemble(np.zeros((len(claims), atoms, 3)), **given | changes)


def told(chunk: object, before: int = 10, after: int = 20) -> str:
    with pytest.raises(ValueError, match=r"\w") as wrong:
        check_chunk(chunk, before, after, ATOMS)
    said = str(wrong.value)
    assert len(said.splitlines()) == 1
    return said


@pytest.mark.parametrize(
    "chunk",
    [
        Chunk(None, {}),
        Chunk(frames(10, 15, 20), {"x": np.zeros(3), "name": np.array("text"), "n": np.array(3)}),
        Chunk(frames(12, 12), {}, done=True, diagnostics={"ess": 0.5, "steps": [1.0, 2.0]}),
        Chunk(frames(), {}),
        # No claims are needed where there is nothing that claims.
        Chunk(Ensemble(np.zeros((0, ATOMS, 3)), np.zeros(0)), {}),
        Chunk(frames(11, energies_kt=np.array([np.inf]), log_weights=np.array([-np.inf])), {}),
        Chunk(None, {}, done=np.bool_(True)),  # type: ignore[arg-type]
    ],
)
def test_sound_chunks_pass(chunk: Chunk) -> None:
    check_chunk(chunk, 10, 20, ATOMS)


@pytest.mark.parametrize(
    ("chunk", "said"),
    [
        (None, "chunk() returned None; it must return a prosebench.method.Chunk"),
        (frames(11), "chunk() returned of type Ensemble"),
        (Chunk(None, [1]), "`carry` of a chunk is of type list"),  # type: ignore[arg-type]
        (Chunk(None, {"rng": np.random.default_rng(0)}), "'rng' in the carry is of type Generator"),  # type: ignore[dict-item]
        (Chunk(None, {"ragged": [[1], [1, 2]]}), "'ragged' in the carry is of type list"),  # type: ignore[dict-item]
        (Chunk(None, {3: np.zeros(1)}), "3 in the carry"),  # type: ignore[dict-item]
        (Chunk(None, {"x": None}), "'x' in the carry is None"),  # type: ignore[dict-item]
        (Chunk(None, {}, done=1), "`done` of a chunk is of type int"),  # type: ignore[arg-type]
        (Chunk(None, {}, diagnostics=[1.0]), "`diagnostics` of a chunk is of type list"),  # type: ignore[arg-type]
        (Chunk(np.zeros((1, ATOMS, 3)), {}), "`ensemble` of a chunk is of type ndarray"),  # type: ignore[arg-type]
        (Chunk(frames(11, atoms=5), {}), "frames have 5 atoms; the peptide has 4"),
        (
            Chunk(frames(11, 12, energies_kt=np.array([0.0, np.nan])), {}),
            "energies_kt of 1 of 2 frames is NaN or -inf",
        ),
        (Chunk(frames(11, energies_kt=np.array([-np.inf])), {}), "energies_kt of 1 of 1 frames"),
        (
            Chunk(frames(11, log_weights=np.array([np.inf])), {}),
            "log_weights of 1 of 1 frames is NaN or +inf",
        ),
        (Chunk(frames(11, log_weights=np.array([np.nan])), {}), "log_weights of 1 of 1 frames"),
        (Chunk(frames(11, evaluations=None), {}), "frames come without `evaluations`"),
        (Chunk(frames(9, 15), {}), "frames claim 9 to 15 evaluations, but their chunk began at 10"),
        (Chunk(frames(15, 21), {}), "frames claim 15 to 21 evaluations, but their chunk began at 10"),
    ],
)
def test_what_is_wrong_with_a_chunk_is_said(chunk: object, said: str) -> None:
    assert said in told(chunk)


peptide_of = cache(Peptide.from_sequence)


def run_of(cell_id: str) -> Run:
    peptide = peptide_of("GG")
    return Run(cell_id, peptide, Meter(HarmonicTarget(peptide.start_nm), 10), (10,), 5)


def test_a_chunk_has_the_same_random_numbers_after_every_restart_and_no_other_has_them() -> None:
    draws = {
        (cell, index): run_of(cell).rng(index).random(4).tolist()
        for cell in ("a", "b")
        for index in (0, 1, 2**40)
    }
    assert len({tuple(values) for values in draws.values()}) == len(draws)
    for (cell, index), values in draws.items():
        assert run_of(cell).rng(index).random(4).tolist() == values


def test_the_key_of_a_cell_is_of_64_bits_and_stays_what_it_was() -> None:
    """Stored records were made with these very numbers."""
    key = run_of("0123456789abcdef").random_key
    assert key == int.from_bytes(hashlib.sha256(b"0123456789abcdef").digest()[:8], "little")
    assert 0 <= key < 2**64


def test_settings_refuse_what_they_do_not_know_and_cannot_be_changed() -> None:
    class Some(MethodSettings):
        steps: int = 3

    with pytest.raises(ValidationError, match="extra"):
        Some(stpes=4)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="frozen"):
        Some().steps = 4  # type: ignore[misc]


def test_an_unknown_method_is_answered_with_those_that_are_known() -> None:
    with pytest.raises(UnknownMethod, match=r"unknown method 'mdd'; known: .*md-replicas"):
        load_method("mdd")
