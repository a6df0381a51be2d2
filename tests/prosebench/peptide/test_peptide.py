import pickle
import random

import mdtraj
import numpy as np
import openmm
import pytest
from openmm import app, unit

from prosebench.peptide import MAX_RESIDUES, Peptide, PeptideError
from prosebench.peptide.residues import ONE_LETTER, residue_atoms
from prosebench.peptide.start_structure import find_fault

ALL = "ACDEFGHIKLMNPQRSTVWY"


def energy_kj_mol(peptide, frame_nm, *, torsions=True):
    system = peptide.system()
    for force in system.getForces():
        force.setForceGroup(1 if force.getName() == "PeriodicTorsionForce" else 0)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(frame_nm)
    state = context.getState(energy=True, groups={0, 1} if torsions else {0})
    return state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)


def pdb_lines(peptide, start_nm=None):
    """ATOM lines of a peptide, in a list that tests can spoil."""
    start = peptide.start_nm if start_nm is None else start_nm
    lines = []
    for atom, xyz in zip(peptide.topology.atoms, 10 * start, strict=True):
        name = f" {atom.name:<3}" if len(atom.name) < 4 else atom.name
        x, y, z = (f"{value:8.3f}" for value in xyz)
        lines.append(
            f"ATOM  {atom.index + 1:5d} {name} {atom.residue.name:>3} A{atom.residue.index + 1:4d}    "
            f"{x}{y}{z}  1.00  0.00          {atom.element.symbol:>2}  "
        )
    return lines


def write_pdb(path, lines):
    path.write_text("\n".join([*lines, "END", ""]))
    return path


@pytest.mark.parametrize("sequence", ["ARIP", "PGC", "HH"])
def test_from_sequence(sequence):
    peptide = Peptide.from_sequence(sequence)
    assert peptide.sequence == sequence
    assert peptide.topology.n_residues == len(sequence)
    assert peptide.topology.n_atoms == peptide.n_atoms == len(peptide.atom_names) == len(peptide.start_nm)
    assert [atom.name for atom in peptide.topology.atoms] == peptide.atom_names
    assert peptide.start_nm.dtype == np.float64
    assert peptide.system().getNumParticles() == peptide.n_atoms
    assert peptide.topology.to_openmm().getNumBonds() == peptide.openmm_topology.getNumBonds()


@pytest.mark.parametrize("letter", ALL)
def test_every_residue_in_every_place_has_its_atoms(letter):
    topology = Peptide.from_sequence(3 * letter).topology
    for residue in topology.residues:
        names = [atom.name for atom in residue.atoms]
        place = {"first": residue.index == 0, "last": residue.index == 2}
        assert sorted(names) == sorted(residue_atoms(residue.name, **place))


@pytest.mark.parametrize("sequence", ["ARIP", "VCLT", "HWY", "CLCCGQWN"])
def test_start_is_sound_and_at_a_minimum(sequence):
    peptide = Peptide.from_sequence(sequence)
    assert find_fault(peptide.topology, peptide.start_nm) is None
    context = openmm.Context(
        peptide.system(), openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(peptide.start_nm)
    forces = context.getState(forces=True).getForces(asNumpy=True)
    forces = forces.value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    assert np.sqrt((forces**2).mean()) < 10.0


def test_faults_are_found():
    peptide = Peptide.from_sequence("AVLA")
    topology, start = peptide.topology, peptide.start_nm
    assert "wrong chirality" in find_fault(topology, -start)
    swapped = start.copy()
    one, other = topology.select("resid 2 and (name CD1 or name CD2)")
    swapped[[one, other]] = swapped[[other, one]]
    assert "bond" in find_fault(topology, swapped) or "LEU3-CG" in find_fault(topology, swapped)
    clash = start.copy()
    clash[topology.select("resid 3 and name OXT")] = start[0] + 0.05
    assert find_fault(topology, clash) is not None
    assert "finite" in find_fault(topology, start * np.nan)


def test_cysteines_are_never_joined(tmp_path):
    peptide = Peptide.from_sequence("CCVH")
    one, other = peptide.topology.select("name SG") + 1
    lines = pdb_lines(peptide, peptide.start_nm)
    lines.insert(len(lines) - 1, f"CONECT{one:5d}{other:5d}")
    read = Peptide.from_pdb(write_pdb(tmp_path / "CCVH.pdb", lines))
    for topology in (peptide.topology, read.topology):
        assert not any({a.name, b.name} == {"SG"} for a, b in topology.bonds)


def test_histidine_is_the_epsilon_tautomer():
    peptide = Peptide.from_sequence("AHA")
    assert "HE2" in peptide.atom_names
    assert "HD1" not in peptide.atom_names
    assert [residue.name for residue in peptide.topology.residues][1] == "HIS"


def test_building_is_repeatable_and_leaves_the_random_state_alone():
    random.seed(7)
    expected = random.random()
    random.seed(7)
    first = Peptide.from_sequence("SKH")
    assert random.random() == expected
    np.testing.assert_array_equal(first.start_nm, Peptide.from_sequence("SKH").start_nm)


def test_start_cannot_be_written_to_by_accident():
    with pytest.raises(ValueError, match="read-only"):
        Peptide.from_sequence("GG").start_nm[0] = 0.0


def test_pickle_and_with_start():
    peptide = Peptide.from_sequence("GA")
    moved = pickle.loads(pickle.dumps(peptide)).with_start(peptide.start_nm + 1.0)
    np.testing.assert_array_equal(moved.start_nm, peptide.start_nm + 1.0)
    assert moved.atom_names == peptide.atom_names
    with pytest.raises(PeptideError, match=r"\(1, 3\).*\(20, 3\)"):
        peptide.with_start(np.zeros((1, 3)))


@pytest.mark.parametrize(
    ("sequence", "message"),
    [
        ("", "0 residues; give 2"),
        ("A", "'A' has 1 residue; give 2"),
        ("A" * (MAX_RESIDUES + 1), f"{MAX_RESIDUES + 1} residues"),
        ("ARXP", "'X'"),
        ("arip", "'a'.*ACDEFGHIKLMNPQRSTVWY"),
        ("AR IP", "' '"),
        (
            "arip",
            "Small letters often mean D residues, which cannot be sampled here: .* D or N-methyl",
        ),
        (
            "ACE-AA-NME",
            "Caps cannot be sampled here: peptides are 2 to 50 natural L amino acids with charged ends",
        ),
        ("A[NMe]A", "Modified residues cannot be sampled here"),
    ],
)
def test_bad_sequences_are_refused(sequence, message):
    with pytest.raises(PeptideError, match=message):
        Peptide.from_sequence(sequence)


def read_reordered(folder, peptide, order):
    """The peptide read from a PDB file that has its atoms in another order."""
    lines = pdb_lines(peptide)
    read = Peptide.from_pdb(write_pdb(folder / "reordered.pdb", [lines[i] for i in order]))
    assert read.sequence == peptide.sequence
    assert read.atom_names == [peptide.atom_names[i] for i in order]
    np.testing.assert_allclose(read.start_nm, peptide.start_nm[order], atol=6e-5)
    return read


@pytest.mark.parametrize("sequence", ["ARIP", "HSFW"])
def test_pdb_with_the_carboxyl_last_has_the_same_energy(tmp_path, sequence):
    peptide = Peptide.from_sequence(sequence)
    atoms = list(peptide.topology.atoms)
    order = sorted(
        range(len(atoms)), key=lambda i: (atoms[i].residue.index, atoms[i].name in {"C", "O", "OXT"})
    )
    read = read_reordered(tmp_path, peptide, order)
    noise = np.random.default_rng(0).normal(scale=0.01, size=peptide.start_nm.shape)
    for frame in (peptide.start_nm, peptide.start_nm + noise):
        ours, theirs = energy_kj_mol(peptide, frame), energy_kj_mol(read, frame[order])
        assert theirs == pytest.approx(ours, rel=1e-10, abs=1e-7)


@pytest.mark.parametrize("sequence", ["ARIP", "DHFY"])
def test_shuffled_pdb_has_the_same_energy_but_for_the_order_in_impropers(tmp_path, sequence):
    peptide = Peptide.from_sequence(sequence)
    rng = np.random.default_rng(0)
    residues = [[atom.index for atom in residue.atoms] for residue in peptide.topology.residues]
    order = [int(index) for residue in residues for index in rng.permutation(residue)]
    read = read_reordered(tmp_path, peptide, order)
    ours, theirs = energy_kj_mol(peptide, peptide.start_nm), energy_kj_mol(read, peptide.start_nm[order])
    assert theirs == pytest.approx(ours, abs=0.05)
    frame = peptide.start_nm + rng.normal(scale=0.01, size=peptide.start_nm.shape)
    ours, theirs = (
        energy_kj_mol(peptide, frame, torsions=False),
        energy_kj_mol(read, frame[order], torsions=False),
    )
    assert theirs == pytest.approx(ours, rel=1e-10, abs=1e-7)


def test_pdb_as_tleap_writes_it(tmp_path):
    """HIE for HIS and H1 for H, no chain and no elements, TER at the end."""
    lines = []
    for line in pdb_lines(Peptide.from_sequence("KHD")):
        first = line[22:26].strip() == "1" and line[12:16] == " H  "
        line = line.replace(" H   LYS", " H1  LYS") if first else line
        lines.append(line.replace("HIS A", "HIE  ")[:66].replace(" A ", "   "))
    read = Peptide.from_pdb(write_pdb(tmp_path / "KHD.pdb", [*lines, "TER"]))
    assert read.sequence == "KHD"
    assert read.atom_names == Peptide.from_sequence("KHD").atom_names


def test_pdb_that_openmm_and_mdtraj_write(tmp_path):
    peptide = Peptide.from_sequence("ADH")
    with (tmp_path / "openmm.pdb").open("w") as file:
        app.PDBFile.writeFile(peptide.openmm_topology, peptide.start_nm * unit.nanometer, file)
    mdtraj.Trajectory(peptide.start_nm, peptide.topology).save_pdb(str(tmp_path / "mdtraj.pdb"))
    for name in ("openmm.pdb", "mdtraj.pdb"):
        assert Peptide.from_pdb(tmp_path / name).atom_names == peptide.atom_names


def without(lines, name, residue):
    return [line for line in lines if (line[12:16].strip(), int(line[22:26])) != (name, residue)]


def renamed(lines, old, new):
    return [line.replace(old, new) for line in lines]


BAD_FILES = {
    "missing atom": (lambda x: without(x, "OXT", 3), "HIS 3 lacks OXT"),
    "missing hydrogen": (lambda x: without(x, "HA", 2), "CYS 2 lacks HA"),
    "disulfide": (lambda x: without(x, "HG", 2), "CYS 2 lacks HG.*no disulfides"),
    "extra atom": (lambda x: [*x[:-1], x[-1].replace("OXT", "HXX"), x[-1]], "HIS 3 has the extra atom HXX"),
    "HIP": (lambda x: [*x[:-1], x[-1].replace("OXT", "HD1"), x[-1]], "HIS 3 has a hydrogen HD1.*HIE"),
    "HID": (lambda x: renamed(x, " HE2 HIS", " HD1 HIS"), "HIS 3 has a hydrogen HD1.*HIE"),
    "unnatural": (lambda x: renamed(x, "CYS", "MSE"), "MSE 2 is not one of the 20"),
    "cap": (lambda x: renamed(x, "CYS", "NME"), "NME 2 is not one of the 20 .* caps are not supported"),
    "two chains": (lambda x: [*x[:13], *renamed(x[13:], " A ", " B ")], "2 chains"),
    "alternate": (lambda x: [x[0][:16] + "B" + x[0][17:], *x[1:]], "N of residue .* alternate location 'B'"),
    "twice": (lambda x: [x[0], *x], "N of residue .* twice"),
    "one residue": (
        lambda x: [*x[:12], x[12].replace("CYS A   2", "ALA A   1").replace("N  ", "OXT")],
        "1 residue",
    ),
    "no atoms": (lambda x: [], "cannot be read|0 chains"),
    "nonsense": (lambda x: ["ATOM nonsense"], "cannot be read"),
}


@pytest.fixture(scope="module")
def good_lines():
    return pdb_lines(Peptide.from_sequence("ACH"))


@pytest.mark.filterwarnings("ignore:WARNING. duplicate atom")
@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_files_are_refused(tmp_path, good_lines, kind):
    spoil, message = BAD_FILES[kind]
    path = write_pdb(tmp_path / "bad.pdb", spoil(good_lines))
    with pytest.raises(PeptideError, match=message) as caught:
        Peptide.from_pdb(path)
    assert "bad" in str(caught.value) or kind == "one residue"


def test_missing_file_is_named(tmp_path):
    with pytest.raises(PeptideError, match=r"no PDB file .*nowhere\.pdb"):
        Peptide.from_pdb(tmp_path / "nowhere.pdb")


def test_broken_chains_and_d_residues_are_refused(tmp_path):
    peptide = Peptide.from_sequence("AGA")
    gap = peptide.start_nm.copy()
    gap[peptide.topology.select("resid 2")] += 1.0
    with pytest.raises(PeptideError, match="broken after residue 2"):
        Peptide.from_pdb(write_pdb(tmp_path / "gap.pdb", pdb_lines(peptide, gap)))
    with pytest.raises(PeptideError, match="ALA1-CA has the wrong chirality"):
        Peptide.from_pdb(write_pdb(tmp_path / "d.pdb", pdb_lines(peptide, -peptide.start_nm)))


def place(peptide, name, value):
    """The start structure with one atom of the second residue elsewhere, in nm."""
    start = peptide.start_nm.copy()
    start[next(a.index for a in peptide.topology.atoms if (a.residue.index, a.name) == (1, name))] = value
    return start


def at_origin(peptide):
    hydrogen = np.array([atom.element.symbol == "H" for atom in peptide.topology.atoms])
    return np.where(hydrogen[:, None], 0.0, peptide.start_nm)


BAD_STARTS = {
    "no number on a hydrogen": (
        lambda p: place(p, "HB2", np.nan),
        "HB2 of residue ALA 2 has coordinates that",
    ),
    "no number on CB": (lambda p: place(p, "CB", np.nan), "CB of residue ALA 2 has coordinates that are not"),
    "a hydrogen far off": (lambda p: place(p, "HB2", 5.0), "2ALA-CB and 2ALA-HB2 has a length of"),
    "nm": (lambda p: 0.1 * p.start_nm, "too short by a factor of 10.*holds places in ångström"),
    "no hydrogens placed": (at_origin, "12 of 22 bonds are wrong.*hydrogens too"),
}


@pytest.mark.parametrize("kind", BAD_STARTS)
def test_starts_without_sound_bonds_are_refused(tmp_path, kind):
    spoil, message = BAD_STARTS[kind]
    peptide = Peptide.from_sequence("AA")
    path = write_pdb(tmp_path / "bad.pdb", pdb_lines(peptide, spoil(peptide)))
    with pytest.raises(PeptideError, match=message):
        Peptide.from_pdb(path)


def test_histidine_as_charmm_names_it(tmp_path):
    lines = renamed(pdb_lines(Peptide.from_sequence("AHA")), "HIS", "HSE")
    lines = renamed(renamed(lines, " H   HSE", " HN  HSE"), " H   ALA A   1", " HT1 ALA A   1")
    assert Peptide.from_pdb(write_pdb(tmp_path / "a.pdb", lines)).sequence == "AHA"
    for other in ("HSD", "HSP"):
        lines = renamed(renamed(pdb_lines(Peptide.from_sequence("AHA")), "HIS", other), " HE2 ", " HD1 ")
        with pytest.raises(PeptideError, match="only the epsilon tautomer HIE"):
            Peptide.from_pdb(write_pdb(tmp_path / "b.pdb", lines))


def test_letters_are_complete():
    assert "".join(sorted(ONE_LETTER.values())) == ALL
