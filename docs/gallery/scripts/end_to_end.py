"""The end-to-end distance of a peptide with its error: from weighted proposals, from dynamics, and the wrong way."""

import numpy as np
from matplotlib.figure import Figure

import prosebench
from prosebench.reference import bundled_folder

SEQUENCE = "VF"


def end_to_end(trajectory):
    """Distance in nm from the first N to the last C, of each frame of an mdtraj trajectory."""
    first, last = trajectory.topology.select("name N")[0], trajectory.topology.select("name C")[-1]
    return np.linalg.norm(trajectory.xyz[:, first] - trajectory.xyz[:, last], axis=-1)


# Weighted proposals: the error knows the weights.
proposals = prosebench.load_flow("arbg-small").sample(SEQUENCE, 1000)
by_flow = proposals.mean(end_to_end)
print(f"weighted proposals: {by_flow} nm, as of {by_flow.effective_frames:.0f} independent frames")

# Dynamics: the error knows that frames which follow each other are alike. 50 ps, which is short.
walk = prosebench.sample(SEQUENCE, "md", budget=50_000, frames=5_000)
by_dynamics = walk.mean(end_to_end)
print(f"dynamics of 50 ps:  {by_dynamics} nm, as of {by_dynamics.effective_frames:.0f} independent frames")

# The wrong way: as if the 5,000 frames of the trajectory were independent.
distance = end_to_end(walk.to_mdtraj())
print(f"the wrong way:      {distance.mean():.5f} ± {distance.std() / np.sqrt(len(distance)):.5f} nm")

# The reference: means of its independent trajectories scatter by what their mean is uncertain of.
reference = prosebench.Reference.load(bundled_folder() / f"{SEQUENCE}.npz")
of_reference = end_to_end(reference.ensemble.of(reference.peptide).to_mdtraj())
_, trajectory, counts = np.unique(reference.trajectory, return_inverse=True, return_counts=True)
truth = of_reference.mean()
sums = np.bincount(trajectory, of_reference - truth)
truth_error = np.sqrt((sums**2).sum() * len(counts) / (len(counts) - 1)) / len(of_reference)
print(f"reference:          {truth:.4f} ± {truth_error:.4f} nm, by {len(counts)} trajectories")

edges = np.linspace(0.38, 0.66, 22)
middles = (edges[1:] + edges[:-1]) / 2
shares = proposals.histogram(end_to_end, edges)
figure = Figure(figsize=(5.0, 3.0), layout="constrained")
axes = figure.subplots()
axes.hist(of_reference, edges, density=True, color="#bdbdbd", label="reference")
axes.hist(distance, edges, density=True, histtype="step", color="#D55E00", label="dynamics of 50 ps")
errors = shares.density_error
axes.errorbar(
    middles, shares.density, errors, fmt="o", markersize=3, color="#8E0152", label="weighted proposals"
)
axes.set(xlabel="distance from first N to last C (nm)", ylabel="density (1/nm)")
axes.legend(frameon=False)
figure.savefig("end_to_end.png", dpi=150)
