"""Every metric: one entry each. Tables, figures, comparisons and the board take heading, unit, direction and bounds
from here, so that a new metric is one more entry, with its function here or in a file of its own.

Distances are defined as in Tan et al., "Amortized Sampling with Transferable Normalizing Flows", arXiv 2508.18175.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from analysis.metrics.metric import POSITIVE, SHARE, Cost, Distance, Metric, Number, Quality

if TYPE_CHECKING:
    from analysis.metrics.case import Case, ReferenceFrames, Views

# What measures is imported where it is called: whoever only reads tables loads no solver, no torch and no OpenMM.


def _line(power: Literal[1, 2]) -> dict[str, Any]:
    """The functions that measure W1 (power 1) or W2 of the energies, and its error."""

    def between(sample: "Views", truth: "Views") -> Number:
        from analysis.wasserstein import energy_w1, energy_w2

        distance = energy_w1 if power == 1 else energy_w2
        return Number(distance(sample.energies_kt, truth.energies_kt))

    def error(sample: "Views", truth: "ReferenceFrames", value: float) -> float:
        from analysis.metrics.reference_error import energy_error

        return energy_error(sample.energies_kt, truth.views.energies_kt, *truth.frames, power=power)

    return {"between": between, "error": error}


def _plane(view: Literal["torus", "tica"], period: float | None = None) -> dict[str, Any]:
    """The functions that measure W2 of the points of a view, and its error; with a period, on a torus."""

    def between(sample: "Views", truth: "Views") -> Number:
        from analysis.wasserstein import certified_w2

        found = certified_w2(getattr(sample, view), getattr(truth, view), period=period)
        return Number(found.value, gap=found.gap)

    def error(sample: "Views", truth: "ReferenceFrames", value: float) -> float:
        from analysis.metrics.reference_error import plane_error

        points = getattr(sample, view), getattr(truth.views, view)
        return plane_error(*points, *truth.frames, value, period=period)

    return {"between": between, "error": error}


def _states(view: Literal["angles", "tica"]) -> dict[str, Any]:
    """The functions that measure the Jensen-Shannon divergence over k-means states of a view, and its error."""

    def between(sample: "Views", truth: "Views") -> Number:
        from analysis.metrics.jsd import kmeans_jsd

        return Number(kmeans_jsd(getattr(truth, view), getattr(sample, view)))

    def error(sample: "Views", truth: "ReferenceFrames", value: float) -> float:
        from analysis.metrics.reference_error import jsd_error

        return jsd_error(getattr(sample, view), getattr(truth.views, view), *truth.frames)

    return {"between": between, "error": error}


def _ess(case: "Case") -> float | None:
    from prosebench.frames.importance import ess

    return None if case.used is None else ess(case.used)


def _log_z(case: "Case") -> float | None:
    from analysis.metrics.coverage import log_z

    return None if case.log_weights is None else log_z(case.log_weights)


def _log_z_bar(case: "Case") -> float | None:
    from analysis.metrics.coverage import log_z_bar

    if case.log_weights is None or case.of_reference is None:
        return None
    return log_z_bar(case.log_weights, case.of_reference)


def _mass_seen(case: "Case") -> float | None:
    seen, whole = _log_z(case), _log_z_bar(case)
    return None if seen is None or whole is None else math.exp(seen - whole)


def _missed(case: "Case") -> float | None:
    if case.log_weights is None or case.of_reference is None:
        return None
    return float((case.of_reference > case.log_weights.max()).mean())


def _ess_bound(case: "Case") -> float | None:
    return None if case.used is None else 1.0 / len(case.used)


def _k_hat(case: "Case") -> float | None:
    from prosebench.frames.importance import pareto_k

    return None if case.log_weights is None else pareto_k(case.log_weights)


_OVER_DECADES: Mapping[str, Any] = {"scale": "log", "bounds": POSITIVE}
"""The properties of distances, which spread over decades: they have a logarithmic scale and are never
negative."""

DISTANCES: tuple[Distance, ...] = (
    Distance(
        name="energy-w1",
        heading="E-W1",
        unit="kT",
        what="W1 distance between the energies",
        **_OVER_DECADES,
        in_table=False,
        **_line(1),
    ),
    Distance(
        name="energy-w2",
        heading="E-W2",
        unit="kT",
        what="W2 distance between the energies",
        **_OVER_DECADES,
        **_line(2),
    ),
    Distance(
        name="torus-w2",
        heading="T-W2",
        unit="rad",
        what="W2 distance between the backbone torsions phi and psi, on their torus",
        **_OVER_DECADES,
        **_plane("torus", math.tau),
    ),
    Distance(
        name="tica-w2",
        heading="TICA-W2",
        what="W2 distance in the plane of the reference's first two TICA components",
        **_OVER_DECADES,
        **_plane("tica"),
    ),
    Distance(
        name="torus-k-jsd",
        heading="torus JSD",
        what="Jensen-Shannon divergence over k-means states of the backbone torsions",
        bounds=SHARE,
        **_states("angles"),
    ),
    Distance(
        name="tica-k-jsd",
        heading="TICA JSD",
        what="Jensen-Shannon divergence over k-means states of the first two TICA components",
        bounds=SHARE,
        **_states("tica"),
    ),
)
"""The metrics that compare two ensembles."""

DISTANCE_NAMES = tuple(distance.name for distance in DISTANCES)

_ESS = Quality(
    name="ess",
    heading="ESS",
    what="effective sample size of the weights (Kish), as a share of their number",
    better="more",
    bounds=SHARE,
    by_weighting=True,
    least="ess-bound",
    of=_ess,
)
_CHIRALITY_WRONG = Quality(
    name="chirality-wrong",
    heading="wrong chirality",
    unit="%",
    what="share of the scored frames with a wrong chirality centre that mirroring does not mend",
    factor=100.0,
    bounds=(0.0, 100.0),
    by_weighting=True,
    of=lambda case: float(case.still_wrong.mean()),
)
_TURNED = Quality(
    name="peptide-bonds-turned",
    heading="turned bonds",
    unit="%",
    what="share of the scored frames with a peptide bond that is cis where the reference's is trans, or the reverse",
    factor=100.0,
    bounds=(0.0, 100.0),
    by_weighting=True,
    optional=True,
    of=lambda case: float(case.turned.mean()),
)
_MISSED = Quality(
    name="weight-missed",
    heading="missed",
    unit="%",
    what="share of the reference's frames that weigh more than the heaviest proposal: no proposal stands for them",
    factor=100.0,
    bounds=(0.0, 100.0),
    optional=True,
    of=_missed,
)
_MASS_SEEN = Quality(
    name="mass-seen",
    heading="mass seen",
    unit="%",
    what="share of the target's mass that the weights see: exp(log Z of importance sampling - log Z by BAR)",
    factor=100.0,
    bounds=(0.0, math.inf),
    optional=True,
    of=_mass_seen,
)
QUALITIES: tuple[Quality, ...] = (
    _ESS,
    _CHIRALITY_WRONG,
    _TURNED,
    Quality(
        name="ess-bound",
        heading="least ESS",
        what="what ESS is where one weight is all: one in the number of weights",
        by_weighting=True,
        of=_ess_bound,
    ),
    _MISSED,
    _MASS_SEEN,
    Quality(
        name="log-z",
        heading="log Z",
        what="logarithm of the mean weight: the normalising constant as importance sampling sees it",
        of=_log_z,
    ),
    Quality(
        name="log-z-bar",
        heading="log Z (BAR)",
        what="the same from proposals and reference frames together, by Bennett's acceptance ratio",
        of=_log_z_bar,
    ),
    Quality(
        name="k-hat",
        heading="k-hat",
        what="Pareto shape of the tail of all weights",
        of=_k_hat,
    ),
    Quality(
        name="non-finite",
        heading="not finite",
        what="share of all frames without finite energy and coordinates",
        bounds=SHARE,
        of=lambda case: float(1.0 - case.finite.mean()),
    ),
    Quality(
        name="mirrored",
        heading="mirrored",
        what="share of the scored frames that were mirrored for their chirality",
        bounds=SHARE,
        by_weighting=True,
        of=lambda case: float(case.mirrored.mean()),
    ),
)
"""The metrics of an ensemble by itself."""

ANNEALED_TO = "annealed-to"

COSTS: tuple[Cost, ...] = (
    Cost(
        name="sampling-evaluations",
        heading="energy evaluations",
        what="energy evaluations of sampling",
        of=lambda spent: float(spent.evaluations),
    ),
    Cost(
        name="preparation-evaluations",
        heading="preparation evaluations",
        what="energy evaluations of preparation",
        adds_to="sampling-evaluations",
        of=lambda spent: float(spent.ledger.preparation.evaluations),
    ),
    Cost(
        name="wall-seconds",
        heading="wall time",
        unit="s",
        what="seconds of sampling, preparation and training of one cell",
        of=lambda spent: spent.wall_seconds,
    ),
    Cost(
        name="sampling-seconds",
        heading="sampling time",
        unit="s",
        what="seconds of sampling of one cell",
        in_table=False,
        of=lambda spent: spent.sampling_seconds,
    ),
    Cost(
        name="device-seconds",
        heading="sampling time × devices",
        unit="s",
        what="sampling seconds times the cores or accelerators that shared them",
        in_table=False,
        of=lambda spent: spent.device_seconds,
    ),
    Cost(
        name=ANNEALED_TO,
        heading="annealed to",
        what="time of the last annealing step: 0 is the proposal, 1 the target",
        in_table=False,
        of=lambda spent: spent.annealed_to,
    ),
    Cost(
        name="failures",
        heading="failures",
        what="evaluations that gave no finite energy, in the whole cell",
        in_table=False,
        of=lambda spent: (
            float(spent.ledger.sampling.failures + spent.ledger.preparation.failures)
            if spent.is_last
            else None
        ),
    ),
)
"""The metrics of what a record had spent."""

BY_NAME: Mapping[str, Metric] = {metric.name: metric for metric in (*DISTANCES, *QUALITIES, *COSTS)}

TABLE_METRICS: tuple[Metric, ...] = tuple(
    metric for metric in (_ESS, _MASS_SEEN, _MISSED, *DISTANCES, _CHIRALITY_WRONG, _TURNED) if metric.in_table
)
"""The metrics that are columns of the tables, in this order."""

TABLE_COSTS: tuple[Cost, ...] = tuple(metric for metric in COSTS if metric.in_table)
"""The costs that are columns of the tables, in this order."""

WASSERSTEIN: tuple[str, ...] = tuple(metric.name for metric in TABLE_METRICS if metric.scale == "log")
"""The names of the metrics in the tables that spread over decades: these are the Wasserstein distances."""
