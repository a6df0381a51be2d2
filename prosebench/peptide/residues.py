"""The 20 amino acids: letters, and the atoms of each residue of a zwitterionic peptide with HIS as HIE.

Atom names are those of PDB v3. Every hydrogen follows the heavy atom that it sits on.
"""

ONE_LETTER = {
    "ALA": "A", "ARG": "R", "ASN": "N", "ASP": "D", "CYS": "C", "GLN": "Q", "GLU": "E",
    "GLY": "G", "HIS": "H", "ILE": "I", "LEU": "L", "LYS": "K", "MET": "M", "PHE": "F",
    "PRO": "P", "SER": "S", "THR": "T", "TRP": "W", "TYR": "Y", "VAL": "V",
}  # fmt: skip
"""The one-letter code of each residue name, in alphabetical order of the names."""

SIDE_CHAINS: dict[str, tuple[str, ...]] = {
    "ALA": ("CB HB1 HB2 HB3",),
    "ARG": ("CB HB2 HB3 CG HG2 HG3 CD HD2 HD3 NE HE CZ NH1 HH11 HH12 NH2 HH21 HH22",),
    "ASN": ("CB HB2 HB3 CG OD1 ND2 HD21 HD22",),
    "ASP": ("CB HB2 HB3 CG OD1 OD2",),
    "CYS": ("CB HB2 HB3 SG HG",),
    "GLN": ("CB HB2 HB3 CG HG2 HG3 CD OE1 NE2 HE21 HE22",),
    "GLU": ("CB HB2 HB3 CG HG2 HG3 CD OE1 OE2",),
    "GLY": ("",),
    "HIS": ("CB HB2 HB3 CG", "ND1", "CE1 HE1", "NE2 HE2", "CD2 HD2"),
    "ILE": ("CB HB", "CG2 HG21 HG22 HG23", "CG1 HG12 HG13 CD1 HD11 HD12 HD13"),
    "LEU": ("CB HB2 HB3 CG HG", "CD1 HD11 HD12 HD13", "CD2 HD21 HD22 HD23"),
    "LYS": ("CB HB2 HB3 CG HG2 HG3 CD HD2 HD3 CE HE2 HE3 NZ HZ1 HZ2 HZ3",),
    "MET": ("CB HB2 HB3 CG HG2 HG3 SD CE HE1 HE2 HE3",),
    "PHE": ("CB HB2 HB3 CG", "CD1 HD1", "CE1 HE1", "CZ HZ", "CE2 HE2", "CD2 HD2"),
    "PRO": ("", "CB HB2 HB3", "CG HG2 HG3", "CD HD2 HD3"),
    "SER": ("CB HB2 HB3 OG HG",),
    "THR": ("CB HB", "OG1 HG1", "CG2 HG21 HG22 HG23"),
    "TRP": ("CB HB2 HB3 CG", "CD1 HD1", "NE1 HE1", "CE2", "CZ2 HZ2", "CH2 HH2", "CZ3 HZ3", "CE3 HE3", "CD2"),
    "TYR": ("CB HB2 HB3 CG", "CD1 HD1", "CE1 HE1", "CZ OH HH", "CE2 HE2", "CD2 HD2"),
    "VAL": ("CB HB", "CG1 HG11 HG12 HG13", "CG2 HG21 HG22 HG23"),
}
"""The atoms of each side chain: first the stem, then the pieces of a ring (once around it) or the branches of
a fork."""


def amide_hydrogens(residue_name: str, *, first: bool) -> tuple[str, ...]:
    """Hydrogens on the backbone nitrogen; first says that the residue is the N-terminus."""
    hydrogens = ("H", "H2", "H3") if first else ("H",)
    return hydrogens[1:] if residue_name == "PRO" else hydrogens


def alpha_hydrogens(residue_name: str) -> tuple[str, ...]:
    """Hydrogens on the alpha carbon."""
    return ("HA2", "HA3") if residue_name == "GLY" else ("HA",)


def side_chain(residue_name: str, *, turned: bool = False) -> tuple[str, ...]:
    """Side-chain atoms outwards from CB; turned walks rings the other way and takes branches in reverse."""
    stem, *pieces = SIDE_CHAINS[residue_name]
    return tuple(" ".join([stem, *(reversed(pieces) if turned else pieces)]).split())


def number_of_atoms(sequence: str) -> int:
    """Atoms of a peptide of one-letter codes, without building it."""
    last = len(sequence) - 1
    names = {letter: name for name, letter in ONE_LETTER.items()}
    return sum(
        len(residue_atoms(names[letter], first=i == 0, last=i == last)) for i, letter in enumerate(sequence)
    )


def residue_atoms(residue_name: str, *, first: bool, last: bool) -> tuple[str, ...]:
    """All atom names of a residue, given whether it is the N-terminus (first) or the C-terminus (last)."""
    return (
        "N",
        *amide_hydrogens(residue_name, first=first),
        "CA",
        *alpha_hydrogens(residue_name),
        *side_chain(residue_name),
        "C",
        "O",
        *(("OXT",) if last else ()),
    )
