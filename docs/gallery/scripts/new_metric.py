"""A metric of your own: by how much is the population of positive phi wrong?"""

import numpy as np
from matplotlib.figure import Figure

from analysis.metrics.case import ReferenceFrames, Views, views
from analysis.metrics.metric import SHARE, Distance, Number
from analysis.metrics.reference_error import mean_error
from prosebench.reference import Reference, bundled_folder


def share(seen: Views) -> np.ndarray:
    """Of each frame (n,), the share of its residues whose phi is positive. The torus has all phi, then all psi."""
    return (seen.torus[:, : seen.torus.shape[1] // 2] > 0).mean(axis=1)


def between(sample: Views, truth: Views) -> Number:
    """How far two ensembles are apart."""
    return Number(abs(float(share(sample).mean() - share(truth).mean())))


def error(sample: Views, truth: ReferenceFrames, value: float) -> float:
    """What the finite reference adds to the standard error: that of a mean over correlated frames."""
    return mean_error(share(truth.views), *truth.frames)


POSITIVE_PHI = Distance(
    name="positive-phi",
    heading="phi > 0",
    what="difference between the shares of residues with positive phi",
    better="less",
    bounds=SHARE,
    between=between,
    error=error,
)

# Added to DISTANCES in analysis/metrics/registry.py, it is a column of every table, a figure and a comparison.
# Here it is asked alone: once about spare frames of the reference, and once about those of one basin.
found = []
for sequence in ("AA", "SS"):
    reference = Reference.load(bundled_folder() / f"{sequence}.npz")
    truth = ReferenceFrames.of(reference, 4000)
    spare = views(reference.spare, reference.tica, reference.peptide.topology)
    negative = np.flatnonzero(share(spare) == 0)
    stuck = views(reference.spare.select(negative), reference.tica, reference.peptide.topology)
    for name, sample in (("another half of the reference", spare), ("never at positive phi", stuck)):
        value = POSITIVE_PHI.between(sample, truth.views).value
        found.append((f"{sequence}, {name}", value, POSITIVE_PHI.error(sample, truth, value)))
        print("{}: {:.4f} ± {:.4f}".format(*found[-1]))

names, values, errors = zip(*found, strict=True)
figure = Figure(figsize=(6.0, 2.2), layout="constrained")
axes = figure.subplots()
axes.errorbar(values, range(len(names)), xerr=errors, fmt="o", color="#0072B2")
axes.axvline(0, color="#bdbdbd", zorder=0)
axes.set(xlabel=f"error of the share of {POSITIVE_PHI.label}", ylim=(3.5, -0.5))
axes.set_yticks(range(len(names)), names)
figure.savefig("new_metric.png", dpi=150)
