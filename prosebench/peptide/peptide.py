"""A peptide: sequence, topology, atom names, start structure and OpenMM System."""

import io
from functools import cached_property
from pathlib import Path

import mdtraj
import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from prosebench.frames.bonds import bond_fault
from prosebench.peptide.force_field import ForceField
from prosebench.peptide.names import HISTIDINES
from prosebench.peptide.residues import ONE_LETTER, residue_atoms
from prosebench.peptide.sequence import PeptideError, check_sequence
from prosebench.peptide.start_structure import (
    LONGEST_BOND_NM,
    Positions,
    chirality_fault,
    extended,
    find_fault,
    minimise,
)

_CAPS = ("ACE", "NME", "NMA", "NH2")
"""The names in PDB files of residues that cap an end of the chain."""


class Peptide:
    """A zwitterionic peptide of the 20 natural amino acids, HIS as its epsilon tautomer, without disulfides.

    What can be sampled: one chain of 2 to MAX_RESIDUES natural L residues with charged ends (NH3+ and COO-), charged
    ASP, GLU, LYS and ARG, and neutral HIS with its hydrogen at the epsilon nitrogen; by default in the force field
    amber14 (ff14SB) with OBC1 implicit water and a cutoff of 2 nm, at 310 K. Caps (ACE, NME, NH2), D residues,
    N-methyl residues, disulfides, ions and explicit water are refused. A suite may name other files of force fields
    that OpenMM ships; flows know the published one alone.

    sequence (one-letter codes), openmm_topology, atom_names (list of PDB v3 names) and n_atoms are plain
    attributes. Every array about the peptide has its atoms in the order of the topology. Build one with
    from_sequence or from_pdb.
    """

    def __init__(
        self,
        sequence: str,
        openmm_topology: app.Topology,
        positions_nm: Positions,
        *,
        needs_minimisation: bool,
    ) -> None:
        self.sequence = sequence
        self.openmm_topology = openmm_topology
        self.atom_names: list[str] = [atom.name for atom in openmm_topology.atoms()]
        self.n_atoms = len(self.atom_names)
        self._positions_nm = positions_nm
        self._needs_minimisation = needs_minimisation

    @classmethod
    def from_sequence(cls, sequence: str) -> "Peptide":
        """Build an extended peptide from one-letter codes in capitals, 2 to MAX_RESIDUES of them.

        Atoms are in the order that OpenMM's Modeller.addHydrogens leaves. The same sequence always gives the
        same peptide. Raises PeptideError for any other input; lower case, which often means D residues, too.
        """
        check_sequence(sequence)
        return cls(sequence, *extended(sequence), needs_minimisation=True)

    @classmethod
    def from_pdb(cls, path: str | Path) -> "Peptide":
        """Read a peptide with all its atoms from a PDB file; the first model of several.

        The order of the atoms and the coordinates are those of the file: start_nm is not minimised. Atom
        names that OpenMM knows as synonyms (H1 for H) and the residue name HIE are read too. Raises
        PeptideError for a file that is missing or is not one chain of natural L residues with charged ends
        and all their atoms.
        """
        return cls(*_read_pdb(Path(path)), needs_minimisation=False)

    @cached_property
    def topology(self) -> mdtraj.Topology:
        """mdtraj topology with all bonds."""
        return mdtraj.Topology.from_openmm(self.openmm_topology)

    @cached_property
    def start_nm(self) -> Positions:
        """Start structure (atoms, 3) in nm, read-only.

        From a sequence: at a minimum of the published force field's energy, found at first use (a second for
        8 residues, some seconds for 20), and checked for clashes, chirality and cis peptide bonds;
        PeptideError if a check fails. From a file or with_start: as given.
        """
        start = self._positions_nm
        if self._needs_minimisation:
            start = minimise(self.system(), start)
            fault = find_fault(self.topology, start)
            if fault:
                raise PeptideError(
                    f"peptide {self.sequence}: {fault} in the structure built for it; "
                    "give a start structure with Peptide.from_pdb or with_start"
                )
        start.setflags(write=False)
        return start

    def system(self, force_field: ForceField | None = None) -> openmm.System:
        """A new OpenMM System of this peptide; the default force field is the published one.

        OpenMM sorts the atoms of Amber's improper torsions by their place in the topology, so that in a file
        with another order within rings or carboxylates those torsions, and no other term, differ slightly.
        """
        return (force_field or ForceField()).create_system(self.openmm_topology)

    def with_start(self, start_nm: NDArray[np.floating]) -> "Peptide":
        """The same peptide with another start structure (atoms, 3) in nm, taken as it is.

        Raises PeptideError for another shape or coordinates that are not finite.
        """
        start = np.array(start_nm, dtype=np.float64)
        if start.shape != (self.n_atoms, 3) or not np.isfinite(start).all():
            raise PeptideError(
                f"peptide {self.sequence}: start_nm of shape {start.shape} does not fit; "
                f"give finite coordinates of shape ({self.n_atoms}, 3)"
            )
        return Peptide(self.sequence, self.openmm_topology, start, needs_minimisation=False)

    def __repr__(self) -> str:
        return f"<Peptide {self.sequence}, {self.n_atoms} atoms>"


def _read_pdb(path: Path) -> tuple[str, app.Topology, Positions]:
    """Sequence, topology with standard bonds only, and positions in nm."""
    try:
        text = _with_known_residues(path.read_text())
        pdb = app.PDBFile(io.StringIO(text))
    except FileNotFoundError:
        raise PeptideError(f"there is no PDB file {path}; check the path") from None
    except Exception as error:
        raise PeptideError(
            f"{path} cannot be read as a PDB file ({error}); give a file in PDB format"
        ) from error
    _check_atom_lines(path, text)
    _check_residues(path, pdb.topology)
    sequence = "".join(ONE_LETTER[residue.name] for residue in pdb.topology.residues())
    check_sequence(sequence)
    topology = _with_standard_bonds(pdb.topology)
    positions = np.array(pdb.positions.value_in_unit(unit.nanometer), dtype=np.float64)
    _check_structure(path, topology, positions)
    return sequence, topology, positions


def _with_known_residues(text: str) -> str:
    """A PDB file's text with residue names that OpenMM does not know (CHARMM's HSE) replaced by those of PDB v3."""
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        if line.startswith(("ATOM", "HETATM")) and line[17:20] in HISTIDINES:
            lines[number] = line[:17] + HISTIDINES[line[17:20]] + line[20:]
    return "".join(lines)


def _check_atom_lines(path: Path, text: str) -> None:
    """Refuse what PDBFile would pass over in silence: alternate locations and atoms that are there twice."""
    seen = set()
    for line in text.splitlines():
        if line.startswith("ENDMDL"):
            break
        if not line.startswith(("ATOM", "HETATM")):
            continue
        name, alternate, residue = line[12:16].strip(), line[16:17].strip(), line[17:27].strip()
        if alternate:
            raise PeptideError(
                f"{path}: atom {name} of residue {residue} has the alternate location {alternate!r}; "
                "keep one location of each atom and leave its column blank"
            )
        if (name, residue) in seen:
            raise PeptideError(
                f"{path}: atom {name} of residue {residue} is there twice; keep one of the two"
            )
        seen.add((name, residue))


def _check_residues(path: Path, topology: app.Topology) -> None:
    chains = topology.getNumChains()
    if chains != 1:
        raise PeptideError(
            f"{path} has {chains} chains; give a file with exactly one peptide chain and nothing else"
        )
    residues = list(topology.residues())
    for residue in residues:
        label = f"residue {residue.name} {residue.id}"
        if residue.name not in ONE_LETTER:
            caps = "caps are not supported, ends must be charged: " if residue.name in _CAPS else ""
            raise PeptideError(
                f"{path}: {label} is not one of the 20 natural amino acids; {caps}remove or replace it"
            )
        present = [atom.name for atom in residue.atoms()]
        first, last = residue is residues[0], residue is residues[-1]
        expected = residue_atoms(residue.name, first=first, last=last)
        missing = [name for name in expected if name not in present]
        extra = [name for name in present if name not in expected]
        if residue.name == "HIS" and "HD1" in extra:
            raise PeptideError(
                f"{path}: {label} has a hydrogen HD1; only the epsilon tautomer HIE (HE2, no HD1) "
                "is supported, so protonate it that way"
            )
        if missing:
            raise PeptideError(
                f"{path}: {label} lacks {', '.join(missing)}; add the missing atoms "
                "(all hydrogens, charged ends, OXT, no disulfides)"
            )
        if extra:
            raise PeptideError(f"{path}: {label} has the extra atom {', '.join(extra)}; remove or rename it")


def _with_standard_bonds(topology: app.Topology) -> app.Topology:
    """A copy with the bonds in residues and the peptide bonds alone: no disulfides, nothing from CONECT."""
    copy = app.Topology()
    chain = copy.addChain("A")
    for residue in topology.residues():
        new_residue = copy.addResidue(residue.name, chain, residue.id)
        for atom in residue.atoms():
            copy.addAtom(atom.name, app.Element.getBySymbol(atom.name[0]), new_residue)
    copy.createStandardBonds()
    return copy


def _check_structure(path: Path, topology: app.Topology, positions_nm: Positions) -> None:
    bad = np.flatnonzero(~np.isfinite(positions_nm).all(axis=1))
    if bad.size:
        atom = list(topology.atoms())[bad[0]]
        raise PeptideError(
            f"{path}: atom {atom.name} of residue {atom.residue.name} {atom.residue.id} has coordinates that are not "
            "finite; give every atom a place"
        )
    index = {(atom.residue.index, atom.name): atom.index for atom in topology.atoms()}
    for number in range(topology.getNumResidues() - 1):
        bond = positions_nm[index[number, "C"]] - positions_nm[index[number + 1, "N"]]
        if not np.linalg.norm(bond) <= LONGEST_BOND_NM:
            raise PeptideError(
                f"{path}: the chain is broken after residue {number + 1}, where C and the next N are "
                f"{np.linalg.norm(bond):.2f} nm apart; add what is missing there"
            )
    bonded = mdtraj.Topology.from_openmm(topology)
    fault = bond_fault(positions_nm[None], bonded)
    if fault:
        raise PeptideError(
            f"{path}: {fault}; a PDB file holds places in ångström, of all atoms, hydrogens too: build or minimise the "
            "structure again"
        )
    fault = chirality_fault(bonded, positions_nm, prochiral=False)
    if fault:
        raise PeptideError(f"{path}: {fault}; only natural L residues are supported")
