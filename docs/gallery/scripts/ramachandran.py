"""A free-energy map of two backbone torsions from weighted frames, with the standard error of each bin."""

import numpy as np
from matplotlib.figure import Figure

import prosebench
from prosebench.frames.features import torsions
from prosebench.reference import bundled_folder

SEQUENCE, BINS = "AA", 15

# 1. Sample: frames, energies and log-weights. One proposal costs one energy evaluation.
ensemble = prosebench.load_flow("arbg-small").sample(SEQUENCE, 3000)
print(f"{ensemble}, effective share {ensemble.ess:.2f}, k-hat {ensemble.k_hat:.2f}")

# 2. Torsions. In a dipeptide psi belongs to the first residue and phi to the second; inner residues of longer peptides
#    have both, and there `ensemble.phi_psi(2)` gives them.
phi, psi, _ = torsions(ensemble.positions_nm, ensemble.peptide.topology)
angles = np.concatenate([phi, psi], axis=1)

# 3. Free energy in kT above its minimum, and the standard error of that difference, from the weights.
full_turn = [(-np.pi, np.pi)] * 2
found = ensemble.free_energy(angles, bins=BINS, limits=full_turn)
proposals = np.histogram2d(*angles.T, bins=found.edges)[0]

# 4. A number to report: the population of phi > 0, beside that of the reference.
left = ensemble.mean(phi[:, 0] > 0)
reference = prosebench.Reference.load(bundled_folder() / f"{SEQUENCE}.npz")
in_reference = torsions(reference.ensemble.positions_nm, reference.peptide.topology)[0][:, 0] > 0
truth = in_reference.mean()
truth_error = np.sqrt(truth * (1 - truth) / reference.convergence["effective_frames"])
print(f"P(phi > 0): {left} (reference {truth:.4f} ± {truth_error:.4f})")

figure = Figure(figsize=(7.0, 3.0), layout="constrained")
panels = figure.subplots(1, 2, sharey=True)
maps = (
    ("free energy (kT)", found.free_energy_kt, 7.0),
    ("its standard error (kT)", found.free_energy_error_kt, 1.0),
)
for axes, (title, values, top) in zip(panels, maps, strict=True):
    drawn = np.where(proposals >= 3, values, np.nan)  # of fewer proposals nothing can be said
    image = axes.pcolormesh(*found.edges, drawn.T, vmin=0, vmax=top, cmap="viridis")
    figure.colorbar(image, ax=axes, extend="max")
    axes.set(title=title, xlabel="phi of residue 2 (rad)", aspect="equal")
panels[0].set_ylabel("psi of residue 1 (rad)")
figure.savefig("ramachandran.png", dpi=150)
