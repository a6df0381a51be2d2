"""Start structures: an extended peptide with hydrogens, its minimisation, and the checks it must pass."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import mdtraj
import numpy as np
import openmm
import PeptideBuilder
from numpy.typing import NDArray
from openmm import app, unit
from PeptideBuilder.Geometry import Geo, geometry

from prosebench.frames.geometry import chirality_centers, chirality_signs

Positions = NDArray[np.float64]

SHORTEST_CONTACT_NM = 0.15
"""The shortest distance in nm between atoms more than three bonds apart in a sound structure. A hydrogen bond
may have 0.16."""
LONGEST_BOND_NM = 0.20
"""The longest bond in nm of a sound structure; the longest one in peptides is C-S with 0.182. A bond that
pierces a ring, or a broken chain, exceeds it."""
NATURAL_SIGNS = {("ILE", "CB"): 1, ("THR", "CB"): -1, ("VAL", "CB"): -1, ("LEU", "CG"): -1}
"""The signs of chirality centres in side chains by the IUPAC names (neighbours sorted by name). CA of an L
residue has the sign 1."""
PROCHIRAL = (("VAL", "CB"), ("LEU", "CG"))
"""Centres with two equal methyl groups. Only the names of these groups tell the two hands apart."""


def extended(sequence: str) -> tuple[app.Topology, Positions]:
    """OpenMM topology and positions (atoms, 3) in nm of an extended zwitterion; not minimised, deterministic.

    Heavy atoms as PeptideBuilder places and orders them, each followed by the hydrogens that OpenMM's
    Modeller adds. HIS is the epsilon tautomer, and no cysteines are joined.
    """
    topology, positions = _heavy_atoms(sequence)
    modeller = app.Modeller(topology, [openmm.Vec3(*map(float, xyz)) for xyz in positions] * unit.nanometer)
    variants = [{"HIS": "HIE", "CYS": "CYS"}.get(residue.name) for residue in topology.residues()]
    with _seeded_random(0):
        modeller.addHydrogens(variants=variants, platform=_reference_platform())
    return modeller.topology, np.array(modeller.positions.value_in_unit(unit.nanometer), dtype=np.float64)


def minimise(system: openmm.System, positions_nm: Positions) -> Positions:
    """Positions (atoms, 3) in nm at a minimum of the energy; double precision on the Reference platform."""
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), _reference_platform())
    context.setPositions(positions_nm * unit.nanometer)
    openmm.LocalEnergyMinimizer.minimize(context)
    state = context.getState(positions=True)
    return np.array(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer), dtype=np.float64)


def find_fault(topology: mdtraj.Topology, positions_nm: Positions) -> str | None:
    """Say what is wrong with a start structure: broken bonds, clashes, chirality, cis peptide bonds."""
    if not np.isfinite(positions_nm).all():
        return "some coordinates are not finite"
    return (
        _bond_fault(topology, positions_nm)
        or _clash_fault(topology, positions_nm)
        or chirality_fault(topology, positions_nm)
        or _omega_fault(topology, positions_nm)
    )


def chirality_fault(
    topology: mdtraj.Topology, positions_nm: Positions, *, prochiral: bool = True
) -> str | None:
    """Name the first centre that is not as in a natural peptide of L residues, if any.

    prochiral=False leaves out the centres of VAL and LEU, where only the names of two methyl groups differ.
    """
    centers = chirality_centers(topology)
    for index, sign in zip(centers[:, 0], chirality_signs(positions_nm, centers), strict=True):
        atom = topology.atom(index)
        kind = (atom.residue.name, atom.name)
        if sign != NATURAL_SIGNS.get(kind, 1) and (prochiral or kind not in PROCHIRAL):
            return f"{atom} has the wrong chirality"
    return None


def _heavy_atoms(sequence: str) -> tuple[app.Topology, Positions]:
    with np.errstate(invalid="ignore"):  # PeptideBuilder divides 0 by 0, harmlessly, where the end is flat
        structure = PeptideBuilder.make_structure_from_geos(
            [_residue_geometry(letter) for letter in sequence]
        )
        PeptideBuilder.add_terminal_OXT(structure)
    topology, positions = app.Topology(), []
    chain = topology.addChain("A")
    for number, residue in enumerate(structure.get_residues(), start=1):
        new_residue = topology.addResidue(residue.get_resname(), chain, str(number))
        for atom in residue:
            topology.addAtom(atom.get_name(), app.Element.getBySymbol(atom.element), new_residue)
            positions.append(atom.coord / 10.0)
    topology.createStandardBonds()
    return topology, np.array(positions, dtype=np.float64)


def _residue_geometry(letter: str) -> Geo:
    """PeptideBuilder's geometry, but for LEU, whose CD1 and CD2 it has the wrong way round by IUPAC."""
    geo = geometry(letter)
    if letter == "L":
        geo.CA_CB_CG_CD2_diangle = geo.CA_CB_CG_CD1_diangle + 122.0
    return geo


@contextmanager
def _seeded_random(seed: int) -> Iterator[None]:
    """Seed Python's global generator, which OpenMM's Modeller draws from, and put its state back after."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def _reference_platform() -> openmm.Platform:
    return openmm.Platform.getPlatformByName("Reference")


def _bond_fault(topology: mdtraj.Topology, positions_nm: Positions) -> str | None:
    for one, other in topology.bonds:
        length = np.linalg.norm(positions_nm[one.index] - positions_nm[other.index])
        if length > LONGEST_BOND_NM:
            return f"the bond between {one} and {other} is {length:.3f} nm long"
    return None


def _clash_fault(topology: mdtraj.Topology, positions_nm: Positions) -> str | None:
    near = np.eye(topology.n_atoms)
    for one, other in topology.bonds:
        near[one.index, other.index] = near[other.index, one.index] = 1
    within_three_bonds = np.linalg.matrix_power(near, 3) > 0
    distances = np.linalg.norm(positions_nm[:, None] - positions_nm[None], axis=-1)
    distances[within_three_bonds] = np.inf
    i, j = np.unravel_index(distances.argmin(), distances.shape)
    if distances[i, j] < SHORTEST_CONTACT_NM:
        return f"{topology.atom(i)} and {topology.atom(j)} are only {distances[i, j]:.3f} nm apart"
    return None


def _omega_fault(topology: mdtraj.Topology, positions_nm: Positions) -> str | None:
    _, omega = mdtraj.compute_omega(mdtraj.Trajectory(positions_nm, topology))
    cis = np.flatnonzero(np.abs(omega[0]) < np.pi / 2)
    return f"the peptide bond after residue {cis[0] + 1} is cis" if cis.size else None
