"""Figures of one peptide: energies, Ramachandran maps and TICA maps of each method beside the reference."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill, wrap
from typing import Any, NamedTuple

import mdtraj
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from analysis.figures.style import (
    COLUMN_INCHES,
    FREE_ENERGY_COLOURS,
    INK,
    PAGE_INCHES,
    REFERENCE_FILL,
    Look,
    new_figure,
    note,
    panel_title,
    shared_legend,
    styled,
)
from prosebench.ensemble import Ensemble
from prosebench.frames.features import tica_features, torsions
from prosebench.frames.tica import TicaBasis

MAX_FREE_ENERGY_KT = 7.0
FEW_FRAMES = 300
"""Fewer frames than this are drawn as points. They are too few to know a density from."""
_CONTOURS_KT = (1.0, 3.0, 5.0)
MOST_COLUMNS = 5
_BINS = 120
_SMOOTHING_BINS = 2.0
_FRAMES_PER_UNIT_WIDTH = 4000.0
_TAIL = 0.001
_NOTE_CHARACTERS = 44
Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Sample:
    """The scored frames of a row at a budget, all seeds together."""

    row: str
    budget: int
    ensemble: Ensemble

    @property
    def title(self) -> str:
        """Name of the row and its budget."""
        return f"{self.row}, {self.budget:,}"


class Axis(NamedTuple):
    """Range, number of bins and label of one axis of a map; a periodic axis is closed into a circle."""

    low: float
    high: float
    bins: int
    label: str
    periodic: bool


def energy_histogram(
    peptide: str, reference: Ensemble, samples: Sequence[Sample], look: Mapping[str, Look]
) -> Figure:
    """Histograms of energies (kT), one panel a budget: the reference filled, one line a row.

    The axis spans the reference and the middle 98 % of every row whose median is near it (within 1.5 widths
    of the reference). A panel says how many frames lie outside or have no finite energy.
    """
    budgets = sorted({sample.budget for sample in samples}) or [0]
    with styled():
        width = COLUMN_INCHES if len(budgets) == 1 else PAGE_INCHES
        columns = min(len(budgets), 3)
        lines = -(-len(budgets) // columns)
        figure = new_figure(width, 0.3 + 1.9 * lines)
        panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
        edges = _energy_edges(reference, samples)
        for axes, budget in zip(panels, budgets, strict=False):
            _energy_panel(axes, reference, [s for s in samples if s.budget == budget], look, edges)
            panel_title(axes, f"{peptide}, {budget:,} evaluations" if budget else peptide)
            axes.set_xlabel("potential energy (kT)")
        for axes in panels[len(budgets) :]:
            axes.set_visible(False)
        panels[0].set_ylabel("density (1/kT)")
        panels[0].set_ylim(0.0, panels[0].get_ylim()[1] * 1.1)
        shared_legend(figure, panels)
        return figure


def _energy_edges(reference: Ensemble, samples: Sequence[Sample]) -> NDArray[np.float64]:
    low, high = np.quantile(reference.energies_kt, [_TAIL, 1.0 - _TAIL])
    width = high - low
    limits = low - 1.5 * width, high + 1.5 * width
    for sample in samples:
        first, middle, last = np.quantile(sample.ensemble.energies_kt, [0.01, 0.5, 0.99], method="nearest")
        if limits[0] < middle < limits[1]:
            low, high = min(low, max(first, limits[0])), max(high, min(last, limits[1]))
    smallest = min([len(reference), *(len(sample.ensemble) for sample in samples)])
    per_width = int(np.clip(2.0 * smallest ** (1.0 / 3.0), 10, 40))
    margin = 0.03 * (high - low)
    return np.linspace(low - margin, high + margin, int(per_width * (high - low) / width) + 2)


def _energy_panel(
    axes: Axes, reference: Ensemble, samples: Sequence[Sample], look: Mapping[str, Look], edges: Floats
) -> None:
    axes.stairs(
        _density(reference.energies_kt, edges), edges, fill=True, color=REFERENCE_FILL, label="reference"
    )
    missing, beyond = [], []
    for sample in samples:
        energies, style = sample.ensemble.energies_kt, look[sample.row]
        axes.stairs(
            _density(energies, edges),
            edges,
            color=style.colour,
            linestyle=style.line,
            label=sample.row,
            linewidth=1.1,
        )
        infinite = int((~np.isfinite(energies)).sum())
        outside = int(((energies < edges[0]) | (energies > edges[-1])).sum()) - int(np.isinf(energies).sum())
        if infinite:
            missing.append(f"{sample.row}: {infinite:,} of {len(energies):,} not finite")
        if outside > 0.02 * len(energies):
            beyond.append(f"{sample.row} {outside / len(energies):.0%}")
    if beyond:
        missing += wrap(f"outside: {', '.join(beyond)}", _NOTE_CHARACTERS)
    if missing:
        note(axes, "\n".join(missing), "upper left")


def _density(values: Floats, edges: Floats) -> NDArray[np.float64]:
    """Histogram of values as a share of all of them, those outside included, per unit."""
    counts, _ = np.histogram(values[np.isfinite(values)], edges)
    return counts / (max(len(values), 1) * np.diff(edges))


def ramachandran(
    peptide: str, topology: mdtraj.Topology, reference: Ensemble, samples: Sequence[Sample]
) -> Figure:
    """Free-energy maps (kT) over phi and psi: the reference in the first column, then a column a row.

    A dipeptide has one pair, phi of residue 2 and psi of residue 1, and a line of panels for each budget; a
    longer peptide has a line for each inner residue, at the largest budget. All maps share scale, bins and
    smoothing; the thin lines are the reference's contours.
    """
    names = pair_names(peptide)
    axes_of = [(_circle(rf"\phi_{{{phi}}}"), _circle(rf"\psi_{{{psi}}}")) for phi, psi in names]

    def points(ensemble: Ensemble) -> list[Floats]:
        return angle_pairs(ensemble, topology)

    return _map_figure(peptide, reference, samples, points, axes_of)


def _circle(symbol: str) -> Axis:
    return Axis(-180.0, 180.0, _BINS, f"${symbol}$ (deg)", True)


def pair_names(sequence: str) -> list[tuple[int, int]]:
    """Residue numbers (from 1) of phi and psi of each pair."""
    if len(sequence) == 2:
        return [(2, 1)]
    return [(residue, residue) for residue in range(2, len(sequence))]


def angle_pairs(ensemble: Ensemble, topology: mdtraj.Topology) -> list[Floats]:
    """Points (n, 2) in degrees of each pair: phi of residue i + 1 is angle i, psi of residue i is angle i."""
    phi, psi, _ = (np.degrees(angle) for angle in torsions(ensemble.positions_nm, topology))
    n = phi.shape[1]
    pairs = [(0, 0)] if n == 1 else [(i - 1, i) for i in range(1, n)]
    return [np.stack([phi[:, i], psi[:, j]], axis=1) for i, j in pairs]


def tica_map(
    peptide: str, topology: mdtraj.Topology, basis: TicaBasis, reference: Ensemble, samples: Sequence[Sample]
) -> Figure:
    """Free-energy maps (kT) over the two TICA components of the reference, a line of panels for each budget.

    The axes span the reference; how many frames of a row lie outside is said in its panel.
    """

    def points(ensemble: Ensemble) -> list[Floats]:
        return [basis.transform(tica_features(ensemble.positions_nm, topology)).astype(np.float64)]

    (found,) = points(reference)
    first, second = (
        Axis(*span(values), _BINS, label, False)
        for values, label in zip(found.T, ("TIC 1", "TIC 2"), strict=True)
    )
    return _map_figure(peptide, reference, samples, points, [(first, second)])


def span(values: Floats) -> tuple[float, float]:
    """Ends of an axis that shows values (n,) but for a tail at each end, and a margin."""
    low, high = (float(end) for end in np.quantile(values, [_TAIL / 2, 1.0 - _TAIL / 2]))
    margin = 0.12 * (high - low)
    return low - margin, high + margin


def _map_figure(
    peptide: str,
    reference: Ensemble,
    samples: Sequence[Sample],
    points: Callable[[Ensemble], list[Floats]],
    axes_of: list[tuple[Axis, Axis]],
) -> Figure:
    """A line of maps, reference first and then each row that has frames, for each budget; or for each pair of axes,
    where there are several, at the largest budget. Lines of more than MOST_COLUMNS maps are wrapped.
    """
    budgets = sorted({sample.budget for sample in samples}) or [0]
    many_pairs = len(axes_of) > 1
    lines = [(pair, budgets[-1]) for pair in range(len(axes_of))] if many_pairs else [(0, b) for b in budgets]
    rows = list(dict.fromkeys(sample.row for sample in samples))
    shown = {budget for _, budget in lines}
    found = {(s.row, s.budget): points(s.ensemble) for s in samples if s.budget in shown}
    truth = points(reference)
    present = {budget: [row for row in rows if (row, budget) in found] for _, budget in lines}
    most = 1 + max(map(len, present.values()))
    columns = min(most, MOST_COLUMNS)
    heights = [-(-(1 + len(present[budget])) // columns) for _, budget in lines]
    wrapped = max(heights) > 1
    with styled():
        side = min(1.5, (PAGE_INCHES - 1.4) / columns)
        figure = new_figure(1.4 + side * columns, 0.5 + (side + 0.18 * wrapped) * sum(heights))
        panels = figure.subplots(sum(heights), columns, squeeze=False)
        for line, (pair, budget) in enumerate(lines):
            maps = [truth[pair], *(found[row, budget][pair] for row in present[budget])]
            outline = free_energy(truth[pair], *axes_of[pair]) if len(reference) >= FEW_FRAMES else None
            block = panels[sum(heights[:line]) : sum(heights[: line + 1])]
            for axes, values in zip(block.ravel(), maps, strict=False):
                _draw_map(axes, values, outline if axes is not block[0, 0] else None, *axes_of[pair])
            for axes in block.ravel()[len(maps) :]:
                axes.set_axis_off()
            several = len(budgets) > 1 and not many_pairs
            _label_block(block, f"{budget:,} evaluations\n" if several else "", axes_of[pair])
            if line == 0 or wrapped or several:
                titles = [f"{peptide} reference", *present[budget]]
                for axes, title in zip(block.ravel(), titles, strict=False):
                    panel_title(axes, fill(title, 18))
            if line < len(lines) - 1 and not many_pairs:
                for axes in block[-1]:
                    axes.set_xlabel("")
                    axes.tick_params(labelbottom=False)
        colours = ScalarMappable(Normalize(0.0, MAX_FREE_ENERGY_KT), FREE_ENERGY_COLOURS)
        bar = figure.colorbar(colours, ax=panels, aspect=25, shrink=0.9, pad=0.015, fraction=0.05)
        bar.set_label("free energy (kT)")
        bar.outline.set_linewidth(0.4)
        return figure


def _label_block(block: NDArray[Any], prefix: str, labels: tuple[Axis, Axis]) -> None:
    """Axis labels of the wrapped panels of one line: below the last, left of the first of each."""
    for axes in block.ravel():
        axes.tick_params(labelleft=axes in block[:, 0], labelbottom=axes in block[-1])
    for axes in block[:, 0]:
        axes.set_ylabel(prefix + labels[1].label)
    for axes in block[-1]:
        axes.set_xlabel(labels[0].label)


def _draw_map(axes: Axes, points: Floats, outline: NDArray[np.float64] | None, x: Axis, y: Axis) -> None:
    """One map, with the outline of the reference."""
    axes.set(xlim=(x.low, x.high), ylim=(y.low, y.high), box_aspect=1.0)
    if x.periodic:
        axes.set(xticks=(-180, 0, 180), yticks=(-180, 0, 180))
    for side in ("top", "right"):
        axes.spines[side].set_visible(True)
    centres = [np.linspace(axis.low, axis.high, 2 * axis.bins + 1)[1::2] for axis in (x, y)]
    if outline is not None:
        bounded = np.minimum(outline, 2.0 * MAX_FREE_ENERGY_KT).T
        axes.contour(
            *centres, bounded, levels=_CONTOURS_KT, colors="white", linewidths=1.0, alpha=0.6, zorder=2
        )
        axes.contour(*centres, bounded, levels=_CONTOURS_KT, colors=INK, linewidths=0.45, zorder=3)
    inside = np.isfinite(points).all(axis=1)
    for values, axis in zip(points.T, (x, y), strict=True):
        inside &= (values >= axis.low) & (values <= axis.high)
    if len(points) < FEW_FRAMES:
        axes.plot(*points[inside].T, ".", color=INK, markersize=2.0, alpha=0.7, markeredgewidth=0, zorder=4)
    else:
        energies = free_energy(points, x, y)
        axes.imshow(
            np.where(energies <= MAX_FREE_ENERGY_KT, energies, np.nan).T,
            origin="lower",
            extent=(x.low, x.high, y.low, y.high),
            aspect="auto",
            cmap=FREE_ENERGY_COLOURS,
            vmin=0.0,
            vmax=MAX_FREE_ENERGY_KT,
        )
    outside = int((~inside).sum())
    said = [f"{len(points):,} frames"] if len(points) < FEW_FRAMES else []
    if outside > _TAIL * len(points):
        said.append(f"{outside:,} of {len(points):,} outside")
    if said:
        note(axes, "\n".join(said), "lower right")


def free_energy(points: Floats, x: Axis, y: Axis, width: float | None = None) -> NDArray[np.float64]:
    """-ln of the density (bins of x, bins of y) in kT above its minimum; inf below half the peak of one
    frame.

    The histogram is smoothed by a Gaussian of a width in bins, by default of about two, more for fewer frames (their
    number to the power -1/6), across the seam of periodic axes.
    """
    ranges = np.array([(x.low, x.high), (y.low, y.high)])
    counts = np.histogram2d(points[:, 0], points[:, 1], (x.bins, y.bins), ranges)[0]
    if width is None:
        scale = np.clip((_FRAMES_PER_UNIT_WIDTH / max(len(points), 1)) ** (1.0 / 6.0), 0.75, 2.0)
        width = float(_SMOOTHING_BINS * scale)
    smooth = gaussian_filter(counts, width, mode="wrap" if x.periodic else "constant")
    one_frame = 1.0 / (2.0 * np.pi * width**2)
    seen = smooth > 0.5 * one_frame
    return np.where(seen, -np.log(np.where(seen, smooth, 1.0) / max(smooth.max(), one_frame)), np.inf)
