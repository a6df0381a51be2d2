"""One flow for several peptides: what it learns, and that a run that is stopped goes on with the same numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from prosebench.energy.meter import Meter
from prosebench.peptide import Peptide
from prosebench.prose import improve as improvement
from prosebench.prose.fine_tuning import TuningSettings
from prosebench.prose.flow import Prose
from prosebench.prose.improve import improve
from prosebench.prose.network import Network

from .conftest import tiny_config
from .test_snis import CentredGaussian

PEPTIDES = [Peptide.from_sequence("GG"), Peptide.from_sequence("GA")]


@pytest.fixture(scope="module")
def start() -> Prose:
    torch.manual_seed(0)
    return Prose(Network(tiny_config()), device="cpu")


def test_one_flow_for_several_peptides(start: Prose) -> None:
    seen: list[tuple[int, str, float]] = []
    peptides = PEPTIDES
    meters = [Meter(CentredGaussian(), 60), Meter(CentredGaussian(), 90)]
    settings = TuningSettings(rounds=2, steps=2, tuning_batch=4)
    tuned, ensembles = improve(start, peptides, meters, settings, watch=lambda *said: seen.append(said))
    assert [meter.spent for meter in meters] == [60, 90]
    assert [len(ensemble) for ensemble in ensembles] == [20, 30]
    assert [said[:2] for said in seen] == [(k, p.sequence) for k in range(3) for p in peptides]
    before, after = (list(prose.network.parameters()) for prose in (start, tuned))
    assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))
    again, _ = improve(start, peptides, [Meter(CentredGaussian(), n) for n in (60, 90)], settings)
    assert all(torch.equal(one, other) for one, other in zip(after, again.network.parameters(), strict=True))


def test_one_flow_for_several_peptides_knows_the_temperature(start: Prose) -> None:
    peptides = PEPTIDES[:1]
    for temperature, width in (("scaled", 0.35 * np.sqrt(2.0)), ("naive", 0.35)):
        meters = [Meter(CentredGaussian(0.3, 620.0), 400)]
        _, (frames,) = improve(start, peptides, meters, TuningSettings(rounds=0, temperature=temperature))
        assert np.std(frames.positions_nm) == pytest.approx(width, rel=0.1)
    meters = [Meter(CentredGaussian(0.3, kelvin), 10) for kelvin in (310.0, 620.0)]
    with pytest.raises(ValueError, match="several temperatures"):
        improve(start, [peptides[0], peptides[0]], meters, TuningSettings(rounds=0))


class Killed(Exception):
    pass


class Mortal(CentredGaussian):
    """Gives energies of so many blocks; then the process is killed."""

    blocks = 0

    def energy(self, frames_nm: np.ndarray) -> np.ndarray:
        if not Mortal.blocks:
            raise Killed
        Mortal.blocks -= 1
        return super().energy(frames_nm)


SETTINGS = TuningSettings(rounds=2, steps=2, tuning_batch=4, learning_rate=1e-2)
BUDGETS = (32, 90)


def improve_once(start: Prose, blocks: int, folder: Path | None):
    Mortal.blocks = blocks
    meters = [Meter(Mortal(), budget) for budget in BUDGETS]
    return *improve(start, PEPTIDES, meters, SETTINGS, seed=3, folder=folder), meters


@pytest.mark.parametrize("blocks", [1, 4])
def test_a_run_that_is_killed_goes_on_with_the_same_numbers(
    start: Prose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: int
) -> None:
    """In blocks of 10 frames the rounds have 4, 4 and 5 blocks: it is killed before every one, or about each round."""
    monkeypatch.setattr(improvement, "BLOCK_PROPOSALS", 10)
    expected, ensembles, meters = improve_once(start, 100, None)
    kills = 0
    while True:
        try:
            tuned, again, spent = improve_once(start, blocks, tmp_path / "kept")
            break
        except Killed:
            kills += 1
    assert kills == {1: 12, 4: 3}[blocks]
    weights, others = (list(prose.network.parameters()) for prose in (expected, tuned))
    assert all(torch.equal(one, other) for one, other in zip(weights, others, strict=True))
    for one, other in zip(ensembles, again, strict=True):
        assert one.arrays().keys() == other.arrays().keys()
        assert all(np.array_equal(array, other.arrays()[name]) for name, array in one.arrays().items())
    assert [meter.ledger for meter in meters] == [meter.ledger for meter in spent]


def test_proposals_of_finished_rounds_are_let_go(start: Prose, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        improve_once(start, 3, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"arguments.json", "weights.npz", "1-0-000000.npz"}


def test_no_two_streams_are_the_same() -> None:
    """numpy takes seeds that differ by zeros at their end for the same one."""
    keys = [(1, done) for done in range(3)]
    keys += [(0, done, index, block) for done in range(3) for index in range(3) for block in range(3)]
    assert len({improvement._rng(0, *key).integers(2**63) for key in keys}) == len(keys)


def test_a_folder_of_another_call_is_refused(start: Prose, tmp_path: Path) -> None:
    def call(settings: TuningSettings = SETTINGS, **changes: object) -> None:
        given = {"peptide": PEPTIDES[0], "budget": 30, "kelvin": 310.0, "seed": 0, "flow": start} | changes
        meters = [Meter(Mortal(temperature_kelvin=given["kelvin"]), given["budget"])]
        improve(given["flow"], [given["peptide"]], meters, settings, seed=given["seed"], folder=tmp_path)

    Mortal.blocks = 0
    with pytest.raises(Killed):
        call()
    other = Prose(Network(tiny_config()), device="cpu")
    for changes, said in (
        ({"peptide": PEPTIDES[1]}, "peptides was GG and is GA;"),
        ({"budget": 40, "seed": 2}, "budget was 30 and is 40; seed was 0 and is 2;"),
        ({"kelvin": 400.0}, "temperature_kelvin was 310.0 and is 400.0;"),
        ({"flow": other}, "SHA-256 of the weights was"),
        ({"settings": SETTINGS.model_copy(update={"steps": 3})}, "steps was 2 and is 3;"),
    ):
        with pytest.raises(ValueError, match="holds an unfinished run with other arguments") as caught:
            call(**changes)
        assert said in str(caught.value)
    with pytest.raises(Killed):
        call()
