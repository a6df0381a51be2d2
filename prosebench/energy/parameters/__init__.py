"""What a force field says of a peptide, as arrays: its terms, the radii of implicit solvent, and masses."""
