"""Local coordinates: a map with an inverse, whose log-determinant is that of its Jacobian."""

import numpy as np
import pytest
import torch

from prosebench.flows.molecule.local_frames import FIXED, placing, to_cartesian, to_local
from prosebench.flows.molecule.tokens import Tokens
from prosebench.frames.geometry import random_rotations
from prosebench.peptide import Peptide
from prosebench.prose.config import ProseConfig
from tests.prosebench.prose.conftest import topology_of

SEQUENCES = ["GG", "AS", "PW", "HKV", "ACDEFGHIKLMNPQRSTVWY"]


def tokens_of(*sequences: str, padded_length: int | None = None) -> Tokens:
    return Tokens.of([topology_of(s) for s in sequences], ["n2c_residue-by-residue_standard"], padded_length)


def frames_of(sequence: str, n: int = 4) -> torch.Tensor:
    """Frames around a peptide's start structure, turned, in units of 0.21 nm."""
    rng = np.random.default_rng(0)
    start = Peptide.from_sequence(sequence).start_nm / 0.21
    return torch.from_numpy(start @ random_rotations(rng, n) + 0.1 * rng.standard_normal((n, *start.shape)))


def local(x: torch.Tensor, tokens: Tokens) -> tuple[torch.Tensor, torch.Tensor]:
    return to_local(x, tokens.placing_order, tokens.references, tokens.turns, tokens.mask)


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_every_atom_is_placed_once_and_after_what_it_refers_to(sequence: str) -> None:
    placed = placing(topology_of(sequence))
    assert sorted(placed.order) == list(range(topology_of(sequence).n_atoms))
    rank = placed.order.argsort()
    for atom in placed.order[3:]:
        references = placed.references[atom] - FIXED
        assert len(set(references)) == 3
        assert (rank[references] < rank[atom]).all()


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_there_and_back(sequence: str) -> None:
    tokens, x = tokens_of(sequence), frames_of(sequence)
    y, log_det = local(x, tokens)
    back, log_det_back = to_cartesian(y, tokens.placing, tokens.turns)
    torch.testing.assert_close(back, x, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(log_det_back, -log_det, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("sequence", ["GG", "PW"])
def test_log_determinant_is_that_of_the_jacobian(sequence: str) -> None:
    tokens, x = tokens_of(sequence), frames_of(sequence, 1)
    jacobian = torch.autograd.functional.jacobian(
        lambda flat: local(flat.view(x.shape), tokens)[0].flatten(), x.flatten()
    )
    expected = torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(local(x, tokens)[1][0], expected, rtol=1e-9, atol=1e-9)


def test_the_first_atom_holds_the_centre() -> None:
    tokens, x = tokens_of("AS"), frames_of("AS")
    y = local(x, tokens)[0]
    moved = local(x + 0.5, tokens)[0]
    first = int(tokens.placing_order[0, 0])
    torch.testing.assert_close(y[:, first], x.mean(dim=1) * x.shape[1] ** 0.5)
    others = torch.arange(x.shape[1]) != first
    torch.testing.assert_close(moved[:, others], y[:, others])


def test_the_first_three_atoms_alone_know_the_orientation() -> None:
    tokens, x = tokens_of("AS"), frames_of("AS")
    turn = torch.from_numpy(random_rotations(np.random.default_rng(1), len(x)))
    difference = (local(x @ turn, tokens)[0] - local(x, tokens)[0]).abs().amax(dim=(0, 2))
    assert set(torch.nonzero(difference > 1e-9).flatten().tolist()) == set(
        tokens.placing_order[0, :3].tolist()
    )


def test_dihedrals_turn_one_atom_each() -> None:
    """Rotating the hydroxyl of serine changes t of its hydrogen; uniform dihedrals are standard normals."""
    topology, tokens = topology_of("GS"), tokens_of("GS")
    index = {str(atom): atom.index for atom in topology.atoms}
    hydrogen, oxygen, carbon = (index[f"SER2-{name}"] for name in ("HG", "OG", "CB"))
    n = 2000
    x = frames_of("GS", 1).repeat(n, 1, 1)
    axis = x[0, oxygen] - x[0, carbon]
    axis = axis / axis.norm()
    angle = torch.linspace(-1, 1, n + 1, dtype=torch.float64)[:-1, None] * torch.pi
    arm = x[:, hydrogen] - x[:, oxygen]
    along = (arm @ axis)[:, None] * axis
    x[:, hydrogen] = (
        x[:, oxygen]
        + along
        + (arm - along) * angle.cos()
        + torch.linalg.cross(axis.expand(n, 3), arm) * angle.sin()
    )
    y = local(x - x.mean(dim=1, keepdim=True), tokens)[0]
    moving = y.std(dim=0) > 1e-9
    assert moving.sum() == 1
    assert bool(moving[hydrogen, 2])
    quantiles = y[:, hydrogen, 2].sort().values
    expected = torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n)
    assert (torch.special.ndtr(quantiles) - torch.special.ndtr(expected)).abs().max() < 2 / n


def test_an_atom_that_closes_a_ring_sees_both_its_neighbours() -> None:
    topology = topology_of("HPFW")
    placed = placing(topology)
    rank, bonds = placed.order.argsort(), [{one.index, other.index} for one, other in topology.bonds]
    closing = []
    for atom in range(topology.n_atoms):
        before = {i for bond in bonds if atom in bond for i in bond - {atom} if rank[i] < rank[atom]}
        if len(before) == 2:
            assert set(placed.references[atom, :2] - FIXED) == before
            closing.append(topology.atom(atom).residue.name)
    assert sorted(closing) == ["HIS", "PHE", "PRO", "TRP", "TRP"]


def test_rings_do_not_turn() -> None:
    topology = topology_of("PW")
    turning = {str(topology.atom(i)) for i in np.flatnonzero(placing(topology).turns)}
    assert {"TRP2-C", "TRP2-CG", "TRP2-CD1"} <= turning
    assert not {"TRP2-CE2", "TRP2-CZ2", "TRP2-CH2", "PRO1-CG", "PRO1-CD"} & turning


def test_padding_and_gradients() -> None:
    tokens = tokens_of("GG", "AS", padded_length=30)
    x = torch.zeros(2, 30, 3, dtype=torch.float64)
    x[0, :17], x[1, :22] = frames_of("GG", 1)[0], frames_of("AS", 1)[0, :22]
    x = (x * tokens.mask[..., None]).requires_grad_()
    y, log_det = local(x, tokens)
    assert y[~tokens.mask].abs().max() == 0
    alone, log_det_alone = local(x[:1, :17], tokens_of("GG"))
    torch.testing.assert_close(y[:1, :17], alone)
    torch.testing.assert_close(log_det[:1], log_det_alone)
    (y.square().sum() + log_det.sum()).backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_what_no_frame_has_gets_no_density(dtype: torch.dtype) -> None:
    """Distances below 0, and dihedrals beyond the cut: their frames are those of other coordinates."""
    radii, angles = [-0.5, -1e-6, 0.0, 1e-6, 0.5], [-9.0, -4.9, -4.88, 0.0, 4.88, 4.9, 9.0]
    edges = torch.cartesian_prod(torch.tensor(radii), torch.tensor(angles)).to(dtype)
    tokens, x = tokens_of("GG"), frames_of("GG", 1).to(dtype)
    y = local(x, tokens)[0].repeat(len(edges), 1, 1)
    y[:, tokens.turns[0].nonzero()[0, 0], 1:] = edges
    x, log_det = to_cartesian(y, tokens.placing, tokens.turns)
    has_one = (edges[:, 0] > 0) & (edges[:, 1].abs() < 4.89)
    assert has_one.sum() == 6
    assert torch.isnan(log_det[~has_one]).all()
    assert torch.isfinite(log_det[has_one]).all()
    assert torch.isfinite(x).all()


@pytest.mark.parametrize(
    ("dtype", "radius", "t", "atol"),
    [
        (torch.float64, 1e-6, 1.0, 1e-6),
        (torch.float64, 0.5, 4.89, 1e-6),
        (torch.float64, 1e-3, -4.88, 1e-4),
        (torch.float32, 1e-2, 1.0, 1e-2),
        (torch.float32, 0.5, 3.5, 1e-2),
    ],
)
def test_there_and_back_near_the_edges(dtype: torch.dtype, radius: float, t: float, atol: float) -> None:
    """As far as rounding allows: near the cut, t changes by 4e5 where the dihedral does by a half turn."""
    tokens, x = tokens_of("GG"), frames_of("GG", 1).to(dtype)
    y = local(x, tokens)[0]
    y[0, tokens.turns[0].nonzero()[-1, 0], 1:] = torch.tensor([radius, t], dtype=dtype)
    x, log_det_back = to_cartesian(y, tokens.placing, tokens.turns)
    again, log_det = local(x, tokens)
    torch.testing.assert_close(again, y, rtol=0, atol=atol)
    torch.testing.assert_close(log_det, -log_det_back, rtol=0, atol=10 * atol)


def test_frames_at_the_cut_are_kept_off_it() -> None:
    """An exact cis dihedral has the t of one 3e-6 rad away, whose density is finite."""
    tokens, x = tokens_of("GG"), frames_of("GG", 1)
    y = local(x, tokens)[0]
    turning = tokens.turns[0].nonzero()[-1, 0]
    y[0, turning, 2] = 9.0
    x = to_cartesian(y, tokens.placing, tokens.turns)[0]
    clamped, log_det = local(x, tokens)
    assert clamped[0, turning, 2].abs().item() == pytest.approx(4.8916, abs=1e-4)
    assert torch.isfinite(log_det).all()


def test_flows_in_local_coordinates_have_a_narrow_orientation() -> None:
    config = ProseConfig(channels=8, head_dim=8, blocks=1, layers_per_block=1)
    assert config.orientation([topology_of("GG")]) is None
    narrow = config.model_copy(update={"coordinates": "local"})
    cold, hot = (narrow.orientation([topology_of("GG")], spread) for spread in (1.0, 2.0))
    assert cold is not None
    assert hot is not None
    assert hot.std_rad == pytest.approx(2**0.5 * cold.std_rad)
