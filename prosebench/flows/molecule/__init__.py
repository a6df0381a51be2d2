"""What a flow sees of a molecule: tokens and their conditions, orders of atoms, local frames, labels of hydrogens."""
