"""Frames of a program that knows no energies, as BioEmu's: the torsions are right, the bonds a little off."""

from pathlib import Path

import mdtraj
import numpy as np
from matplotlib.figure import Figure

from analysis.scores.foreign import score_file
from prosebench.reference import Reference, bundled_folder

SEQUENCE, N = "VF", 1000
reference = Reference.load(bundled_folder() / f"{SEQUENCE}.npz")

# Three files as another program could leave them. Their frames are spare frames of the reference, so that all torsions
# are right; what differs is how exactly the atoms stand.
spare = reference.spare.positions_nm[:N]
noise = np.random.default_rng(0).normal(0, 0.004, spare.shape).astype(np.float32)
np.savez("exact.npz", positions_nm=spare)
mdtraj.Trajectory(spare, reference.peptide.topology).save("rounded.xtc")  # XTC keeps 0.001 nm
mdtraj.Trajectory(spare + noise, reference.peptide.topology).save("learned.xtc")  # 0.004 nm off, at random
mdtraj.Trajectory(spare[:1], reference.peptide.topology).save("top.pdb")  # names the atoms, in their order

scores = {}
for name in ("exact.npz", "rounded.xtc", "learned.xtc"):
    found = score_file(
        Path(name),
        SEQUENCE,
        topology=None if name.endswith("npz") else Path("top.pdb"),
        n_frames=N,
        seed=0,
        temperature_kelvin=310.0,
        reference_folders=[],
    )
    energy, torus = (found.score.value(metric) for metric in ("energy-w2", "torus-w2"))
    scores[name] = (energy, torus)
    print(f"{name:12} E-W2 {energy:6.2f} kT   T-W2 {torus:.3f} rad")

figure = Figure(figsize=(6.0, 2.4), layout="constrained")
panels = figure.subplots(1, 2, sharey=True)
for axes, label, values in zip(
    panels, ("E-W2 (kT)", "T-W2 (rad)"), zip(*scores.values(), strict=True), strict=True
):
    bars = axes.barh(list(scores), values, color="#0072B2")
    axes.bar_label(bars, fmt="%.3g", padding=3)
    axes.set(xlabel=label, xlim=(0, 1.45 * max(values)))
panels[0].invert_yaxis()
figure.savefig("foreign_frames.png", dpi=150)
