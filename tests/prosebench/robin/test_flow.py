import numpy as np
import pytest
import torch

from prosebench.frames.geometry import random_rotations
from prosebench.frames.placement import Placement
from prosebench.peptide import Peptide
from prosebench.reference import peptide_from_text
from prosebench.robin import flow
from prosebench.robin.flow import Robin
from tests.molecules.other_order import reordered_pdb

from .conftest import PEPTIDE, tiny_network


@pytest.fixture(scope="module")
def robin() -> Robin:
    return Robin(tiny_network(), device="cpu")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def as_drawn(proposals) -> np.ndarray:
    return proposals.frames_nm + proposals.centres_nm[:, None]


def test_density_of_proposals_is_that_of_the_flow(robin):
    proposals = robin.propose("GG", 10, rng(), mirror=False)
    np.testing.assert_allclose(robin.log_prob("GG", as_drawn(proposals)), proposals.log_q_full, atol=1e-6)
    expected = Placement(robin.placement(PEPTIDE).centre_std_nm).energy_and_gradient(as_drawn(proposals))[0]
    np.testing.assert_allclose(proposals.log_q(), proposals.log_q_full + expected, atol=1e-5)


def test_the_width_of_the_centre_is_that_of_draws_and_of_nothing_else(robin):
    width = robin.placement(PEPTIDE).centre_std_nm
    proposals = robin.propose("GG", 1000, rng(1), batch=250)
    assert width == pytest.approx(np.sqrt((proposals.centres_nm**2).mean()), rel=0.15)
    other = Robin(tiny_network(), device="cpu")
    other.propose("GG", 3, rng(2))
    assert other.placement(PEPTIDE).centre_std_nm == width


def test_a_peptide_in_another_order_of_atoms_has_a_width_of_its_own():
    """Draws go by the order of the atoms, and so does the scatter of their centre."""
    other, robin = peptide_from_text("GG", reordered_pdb(PEPTIDE)), Robin(tiny_network(), device="cpu")
    assert other.atom_names != PEPTIDE.atom_names
    first = robin.placement(PEPTIDE)
    alone = Robin(tiny_network(), device="cpu").placement(other)
    assert alone.centre_std_nm != first.centre_std_nm
    assert robin.placement(other).centre_std_nm == alone.centre_std_nm


def test_draws_do_not_depend_on_their_number(monkeypatch):
    """Bit for bit in single precision, too."""
    single = Robin(tiny_network(dtype=torch.float32), device="cpu")
    many = single.propose("GG", 21, rng(), batch=8)
    few = single.propose("GG", 10, rng(), batch=8)
    np.testing.assert_array_equal(many.frames_nm[:8], few.frames_nm[:8])
    np.testing.assert_array_equal(many.log_q_full[:8], few.log_q_full[:8])


def test_nothing_is_invariant_and_weights_correct_for_it(robin):
    """A model of one orientation more than of others still weighs the target right: see test_snis."""
    frames = 0.1 * rng().standard_normal((4, PEPTIDE.n_atoms, 3))
    changed = {
        "turned": frames @ random_rotations(rng(1), 4),
        "moved": frames + 0.05,
        "mirrored": -frames,
        "with two atoms exchanged": frames[:, [1, 0, *range(2, PEPTIDE.n_atoms)]],
    }
    before = robin.log_prob("GG", frames)
    for name, these in changed.items():
        assert (np.abs(robin.log_prob("GG", these) - before) > 1e-3).all(), name


def test_temperature_changes_no_draw(robin):
    cold, hot = (robin.propose("GG", 4, rng(), temperature_kelvin=t) for t in (310.0, 620.0))
    np.testing.assert_array_equal(cold.frames_nm, hot.frames_nm)


def test_what_was_not_trained_on_is_named():
    robin = Robin(tiny_network(max_residues=2, max_atoms=25), {"notes": {"residues": "GA"}}, "cpu")
    assert robin.unknown(PEPTIDE) is None
    long = Peptide.from_sequence("GGG")
    assert robin.unknown(long) == "was made for peptides of up to 2 residues"
    assert robin.unknown(long, any_length=True) is None
    assert robin.unknown(Peptide.from_sequence("GS")) == "has never seen S; it knows GA"
    much = Peptide.from_sequence("GW")
    assert robin.unknown(much, any_length=True) == "was made for peptides of up to 25 atoms"
    with pytest.raises(ValueError, match="and these weights know 25"):
        robin.propose(much, 1, rng())


def test_batches_of_no_frames_are_refused(robin):
    with pytest.raises(ValueError, match="the batch is 0 frames"):
        robin.propose("GG", 1, rng(), batch=0)


def test_the_pilot_has_a_stream_of_its_own(monkeypatch):
    widths = []
    for seed in (0, 1):
        monkeypatch.setattr(flow, "PILOT_SEED", seed)
        widths.append(Robin(tiny_network(), device="cpu").placement(PEPTIDE).centre_std_nm)
    assert widths[0] != widths[1]
    assert widths[0] == pytest.approx(widths[1], rel=0.3)
