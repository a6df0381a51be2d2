"""An autoregressive flow in internal coordinates: exact densities of one atom after the other.

Read in this order: `scaffold` (which atoms an atom is seen from), `internal` (bond, angle and dihedral of each atom),
`heads` (their densities), `layers` (attention that sees positions), `network` (the density of a frame), `sampling`
(draws).
"""
