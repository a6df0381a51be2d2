"""Files of other programs: what is odd about them is mended with a word, or refused in one line."""

import re
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from mdtraj.core.trajectory import _TOPOLOGY_EXTS
from mdtraj.formats.registry import FormatRegistry

from prosebench.frames.bonds import bond_fault, make_whole, torn
from prosebench.frames.features import torus_points
from prosebench.frames.methyls import exchanged_methyls
from prosebench.frames.trajectories import read_positions
from prosebench.peptide import Peptide
from prosebench.reference import Reference, bundled_folder

N = 200
BOX_NM = 2.5


@pytest.fixture(scope="module", params=["AA", "KG", "SS", "VF"])
def any_reference(request: pytest.FixtureRequest) -> Reference:
    return Reference.load(bundled_folder() / f"{request.param}.npz")


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference.load(bundled_folder() / "AA.npz")


@pytest.fixture(scope="module")
def frames(reference: Reference) -> np.ndarray:
    return reference.spare.positions_nm[:N]


def by_name(peptide: Peptide) -> np.ndarray:
    """Another order of the atoms, as other programs have it: residue by residue, by name."""
    atoms = list(peptide.topology.atoms)
    return np.array(sorted(range(len(atoms)), key=lambda i: (atoms[i].residue.index, atoms[i].name)))


def reordered(topology: mdtraj.Topology, order: np.ndarray) -> mdtraj.Topology:
    """A topology without bonds whose atoms stand in another order."""
    mixed = mdtraj.Topology()
    chain = mixed.add_chain()
    residues = [mixed.add_residue(residue.name, chain) for residue in topology.residues]
    for atom in (topology.atom(i) for i in order):
        mixed.add_atom(atom.name, atom.element, residues[atom.residue.index])
    return mixed


def saved(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def cut(frames: np.ndarray, share: float = 0.5) -> np.ndarray:
    """A share of the frames moved and wrapped, atom by atom, into a box."""
    rng = np.random.default_rng(0)
    wrapped = frames + rng.uniform(0, BOX_NM, size=(len(frames), 1, 3))
    wrapped = np.where(rng.uniform(size=(len(frames), 1, 1)) < share, wrapped % BOX_NM, wrapped)
    return wrapped.astype(np.float32)


def test_frames_of_every_bundled_reference_have_bonds(any_reference: Reference, tmp_path: Path) -> None:
    frames, topology = any_reference.spare.positions_nm[:N], any_reference.peptide.topology
    assert bond_fault(frames, topology) is None
    assert not torn(frames, topology).any()
    found = read_positions(saved(tmp_path / "a.npz", positions_nm=frames), any_reference.peptide)
    np.testing.assert_array_equal(found.arrays["positions_nm"], frames)
    assert found.notes == []


def test_any_two_atoms_exchanged_are_seen_or_alike(any_reference: Reference) -> None:
    """Where a bond is not seen to be wrong, the two are like atoms on one atom: O and OXT, HB2 and HB3."""
    frames, topology = any_reference.spare.positions_nm[:20], any_reference.peptide.topology
    bonded: dict[int, set[int]] = {atom.index: set() for atom in topology.atoms}
    for one, other in topology.bonds:
        bonded[one.index].add(other.index)
        bonded[other.index].add(one.index)
    for one in range(topology.n_atoms):
        for other in range(one):
            order = np.arange(topology.n_atoms)
            order[[one, other]] = other, one
            alike = bonded[one] == bonded[other] and (
                topology.atom(one).element == topology.atom(other).element
            )
            assert (bond_fault(frames[:, order], topology) is None) == alike, (
                topology.atom(one),
                topology.atom(other),
            )


def test_atoms_in_another_order_are_refused(any_reference: Reference, tmp_path: Path) -> None:
    peptide, frames = any_reference.peptide, any_reference.spare.positions_nm[:N]
    order = by_name(peptide)
    said = rf"no frames of {peptide.sequence} in nm: the bond between 1\w+-\w+ and .*--topology FILE"
    with pytest.raises(ValueError, match=said):
        read_positions(saved(tmp_path / "a.npz", positions_nm=frames[:, order]), peptide)
    # Their own numbers of atoms are right, and so are the names in the PDB file: only the frames are not.
    mdtraj.Trajectory(frames[:, order], peptide.topology).save(str(tmp_path / "a.xtc"))
    mdtraj.Trajectory(frames[:1], peptide.topology).save(str(tmp_path / "a.pdb"))
    with pytest.raises(ValueError, match=said):
        read_positions(tmp_path / "a.xtc", peptide, tmp_path / "a.pdb")


def test_a_topology_beside_an_archive_names_its_order(any_reference: Reference, tmp_path: Path) -> None:
    peptide, frames = any_reference.peptide, any_reference.spare.positions_nm[:N]
    order = by_name(peptide)
    mdtraj.Trajectory(frames[:1, order], reordered(peptide.topology, order)).save(str(tmp_path / "a.pdb"))
    path = saved(tmp_path / "a.npz", positions_nm=frames[:, order])
    found = read_positions(path, peptide, tmp_path / "a.pdb")
    np.testing.assert_array_equal(found.arrays["positions_nm"], frames)


def test_another_peptide_of_as_many_atoms_is_refused(tmp_path: Path) -> None:
    other = Peptide.from_sequence("GK").start_nm[None]
    with pytest.raises(ValueError, match="no frames of KG in nm: the bond between 1LYS"):
        read_positions(saved(tmp_path / "a.npz", positions_nm=other), Peptide.from_sequence("KG"))


@pytest.mark.parametrize(
    ("factor", "said"), [(10.0, "ångström: divide by 10"), (0.1, "too short by a factor of 10")]
)
def test_other_units_are_named(
    factor: float, said: str, reference: Reference, frames: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=said):
        read_positions(saved(tmp_path / "a.npz", positions_nm=factor * frames), reference.peptide)


def test_molecules_cut_by_a_box_are_made_whole(
    reference: Reference, frames: np.ndarray, tmp_path: Path
) -> None:
    topology = reference.peptide.topology
    trajectory = mdtraj.Trajectory(cut(frames), topology)
    trajectory.unitcell_vectors = np.tile(BOX_NM * np.eye(3, dtype=np.float32), (N, 1, 1))
    trajectory.save(str(tmp_path / "a.xtc"))
    mdtraj.Trajectory(frames[:1], topology).save(str(tmp_path / "a.pdb"))
    found = read_positions(tmp_path / "a.xtc", reference.peptide, tmp_path / "a.pdb")
    (note,) = found.notes
    assert "of 200 frames of" in note
    assert "made whole" in note
    apart = torus_points(found.arrays["positions_nm"], topology) - torus_points(frames, topology)
    assert np.abs(np.angle(np.exp(1j * apart))).max() < 0.1  # the format rounds to 0.001 nm


def test_boxes_of_any_shape(reference: Reference, frames: np.ndarray) -> None:
    cell = BOX_NM * np.array([[1.0, 0.0, 0.0], [1 / 3, 0.943, 0.0], [-1 / 3, 0.471, 0.816]])
    inside = np.floor(
        (frames + np.random.default_rng(1).uniform(0, 2, (N, 1, 3))) @ np.linalg.inv(cell)
    ).astype(int)
    wrapped = frames - inside @ cell
    topology = reference.peptide.topology
    assert torn(wrapped, topology).sum() > 5
    whole = make_whole(wrapped, np.tile(cell, (N, 1, 1)), topology)
    np.testing.assert_allclose(whole - whole[:, :1], frames - frames[:, :1], atol=1e-5)


def test_molecules_cut_by_a_box_that_is_not_known_are_refused(
    reference: Reference, frames: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"of 200 frames of .* are cut in two, as by a periodic box: make"):
        read_positions(saved(tmp_path / "a.npz", positions_nm=cut(frames)), reference.peptide)
    one = frames.copy()
    one[7, :10] += [BOX_NM, 0, 0]
    assert np.flatnonzero(torn(one, reference.peptide.topology)).tolist() == [7]
    found = read_positions(saved(tmp_path / "b.npz", positions_nm=one), reference.peptide)
    assert "1 of 200 frames" in found.notes[0]


def test_poor_frames_are_not_taken_for_cut_ones(reference: Reference, frames: np.ndarray) -> None:
    noisy = frames + np.random.default_rng(0).normal(scale=0.5, size=frames.shape)
    assert not torn(noisy, reference.peptide.topology).any()


@pytest.mark.parametrize(
    ("sequence", "groups"), [("VF", ("CG1 HG11 HG12 HG13", "CG2 HG21 HG22 HG23")), ("AL", None)]
)
def test_methyl_groups_under_the_others_name_are_renamed(
    sequence: str, groups: tuple[str, str] | None, tmp_path: Path
) -> None:
    peptide = Peptide.from_sequence(sequence)
    one, other = groups or ("CD1 HD11 HD12 HD13", "CD2 HD21 HD22 HD23")
    order = np.arange(peptide.n_atoms)
    for a, b in zip(one.split(), other.split(), strict=True):
        i, j = peptide.atom_names.index(a), peptide.atom_names.index(b)
        order[[i, j]] = j, i
    noise = np.random.default_rng(0).normal(scale=0.003, size=(50, peptide.n_atoms, 3))
    frames = (peptide.start_nm + noise).astype(np.float32)
    found = read_positions(saved(tmp_path / "a.npz", positions_nm=frames[:, order]), peptide)
    np.testing.assert_array_equal(found.arrays["positions_nm"], frames)
    assert "methyl groups of" in found.notes[0]
    # Neither mirror images nor a sampler that makes both hands are cases of it.
    for odd in (-frames, np.concatenate([frames, frames[:, order]])):
        found = read_positions(saved(tmp_path / "b.npz", positions_nm=odd), peptide)
        np.testing.assert_array_equal(found.arrays["positions_nm"], odd)
        assert found.notes == []
    assert exchanged_methyls(frames, peptide)[1] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (" HB3 PHE", " HB1 PHE"),
        (" HB3 PHE", "1HB  PHE"),
        (" H2  VAL", " HT2 VAL"),
        (" OXT PHE", " OT2 PHE"),
    ],
)
def test_names_of_other_programs(old: str, new: str, tmp_path: Path) -> None:
    peptide = Peptide.from_sequence("VF")
    mdtraj.Trajectory(peptide.start_nm[None], peptide.topology).save(str(tmp_path / "own.pdb"))
    text = (tmp_path / "own.pdb").read_text()
    assert old in text
    (tmp_path / "other.pdb").write_text(text.replace(old, new))
    path = saved(tmp_path / "a.npz", positions_nm=peptide.start_nm[None])
    found = read_positions(path, peptide, tmp_path / "other.pdb")
    np.testing.assert_array_equal(found.arrays["positions_nm"], peptide.start_nm[None])


@pytest.mark.parametrize(
    "content", ["", "\n\n", "REMARK nothing\nEND\n", "ATOM      1  N   ALA", b"\xff\xfe\x00", "lower"]
)
def test_topologies_without_atoms_are_named(
    content: str | bytes, reference: Reference, tmp_path: Path
) -> None:
    top = tmp_path / "top.pdb"
    if content == "lower":
        mdtraj.Trajectory(reference.peptide.start_nm[None], reference.peptide.topology).save(str(top))
        content = top.read_text().lower()
    top.write_bytes(content if isinstance(content, bytes) else content.encode())
    mdtraj.Trajectory(reference.spare.positions_nm[:5], reference.peptide.topology).save(
        str(tmp_path / "a.xtc")
    )
    with pytest.raises(ValueError, match=r"top\.pdb (cannot be read|names no atoms|is not of the whole)"):
        read_positions(tmp_path / "a.xtc", reference.peptide, top)


@pytest.mark.parametrize("suffix", sorted(set(FormatRegistry.loaders) - set(_TOPOLOGY_EXTS) - {".xml"}))
def test_formats_that_name_no_atoms_ask_for_a_topology(
    suffix: str, reference: Reference, tmp_path: Path
) -> None:
    """Every format that mdtraj reads with a topology alone; an .xml file is a state of OpenMM."""
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"x")
    with pytest.raises(ValueError, match=rf"a{re.escape(suffix)} names no atoms: give --topology FILE"):
        read_positions(path, reference.peptide)


@pytest.mark.parametrize("content", ["", "END\n", "MODEL 1\nENDMDL\nEND\n", "REMARK nothing\n"])
def test_frames_without_atoms_are_named(content: str, reference: Reference, tmp_path: Path) -> None:
    (tmp_path / "a.pdb").write_text(content)
    with pytest.raises(ValueError, match=r"a\.pdb holds no atoms: none of its lines begins with ATOM"):
        read_positions(tmp_path / "a.pdb", reference.peptide)


def test_frames_that_are_not_finite(reference: Reference, frames: np.ndarray, tmp_path: Path) -> None:
    for first in (0, 1):
        broken = frames.copy()
        broken[first::10] = np.nan
        with pytest.raises(
            ValueError, match=rf"20 of 200 frames .* not finite \(the first is frame {first}\)"
        ):
            read_positions(saved(tmp_path / "a.npz", positions_nm=broken), reference.peptide)
    weighted = saved(tmp_path / "b.npz", positions_nm=broken, log_weights=np.zeros(N))
    assert read_positions(weighted, reference.peptide).notes == [
        f"20 of 200 frames of {weighted} have coordinates that are not finite; their weight is 0"
    ]


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"weights": np.ones(N)}, "unknown array 'weights'; known: positions_nm, energies_kt, log_weights"),
        ({"logw": np.ones(N)}, "unknown array 'logw'"),
        (
            {"log_weights": np.where(np.arange(N) == 3, np.inf, 0.0)},
            r"log_weights of .* holds inf \(frame 3\)",
        ),
        ({"log_weights": np.where(np.arange(N) == 3, np.nan, 0.0)}, r"holds nan \(frame 3\)"),
        ({"log_weights": np.ones(N - 1)}, r"log_weights of .* has shape \(199,\); 200 frames need \(200,\)"),
        ({"evaluations": np.arange(N) - 1}, r"evaluations of .* holds -1 \(frame 0\)"),
        ({"log_weights": np.ones(N, dtype=complex)}, "has the type complex128; it must hold real numbers"),
    ],
)
def test_arrays_that_cannot_be_are_refused(
    arrays: dict, said: str, reference: Reference, frames: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=said):
        read_positions(saved(tmp_path / "a.npz", positions_nm=frames, **arrays), reference.peptide)
