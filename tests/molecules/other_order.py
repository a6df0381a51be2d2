"""Peptides whose atoms stand in another order than a sequence gives."""

import io

from openmm import app, unit

from prosebench.peptide import Peptide


def reordered_pdb(peptide: Peptide) -> str:
    """The PDB file of a peptide with the atoms of each residue from the last to the first."""
    text = io.StringIO()
    app.PDBFile.writeFile(peptide.openmm_topology, peptide.start_nm * unit.nanometer, text, keepIds=True)
    lines = [line for line in text.getvalue().splitlines() if line.startswith("ATOM")]
    residues = sorted({line[22:26] for line in lines})
    turned = [line for residue in residues for line in reversed(lines) if line[22:26] == residue]
    return "\n".join([*turned, "END", ""])
