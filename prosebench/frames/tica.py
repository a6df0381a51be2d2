"""TICA: the two slowest linear combinations of a peptide's features, fitted once on a reference."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    # Importing deeptime takes two seconds, and only fitting needs it: workers should start without.
    from deeptime.covariance import KoopmanWeightingModel

N_COMPONENTS = 2
_FRAMES_PER_BLOCK = 8192
_STORED_MOMENTS = 5


class TicaError(ValueError):
    """The trajectories do not determine a TICA basis; the message says why and what to change."""


@dataclass(frozen=True, eq=False)
class TicaBasis:
    """An affine map from features to two components: (features - mean) @ projection.

    projection (d, 2) and mean (d,), both float64. Raises ValueError where shapes disagree or a value is not
    finite.
    """

    projection: NDArray[np.float64]
    mean: NDArray[np.float64]

    def __post_init__(self) -> None:
        projection = np.ascontiguousarray(self.projection, dtype=np.float64)[:, :N_COMPONENTS]
        mean = np.ascontiguousarray(self.mean, dtype=np.float64)
        if projection.shape != (len(mean), N_COMPONENTS):
            raise ValueError(
                f"TICA projection has shape {projection.shape}; a mean of {len(mean)} features needs "
                f"({len(mean)}, {N_COMPONENTS})"
            )
        if not (np.isfinite(projection).all() and np.isfinite(mean).all()):
            raise ValueError("the TICA basis holds values that are not finite")
        object.__setattr__(self, "projection", np.ascontiguousarray(projection))
        object.__setattr__(self, "mean", mean)

    def transform(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Components (n, 2) of features (n, d); float32, in which the published protocol compares them."""
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise ValueError(
                f"features have shape {features.shape}; this TICA basis needs (n, {len(self.mean)})"
            )
        return ((features - self.mean) @ self.projection).astype(np.float32)

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of the numbers of the basis."""
        digest = hashlib.sha256()
        for array in (self.projection, self.mean):
            digest.update(str(array.shape).encode() + array.astype("<f8").tobytes())
        return digest.hexdigest()


def tica_fault(lengths: Sequence[int], lag_frames: int, n_features: int) -> str | None:
    """Why trajectories of these lengths (frames) do not determine a basis of so many features, if they do not.

    With fewer pairs of frames than features, covariances are singular, and the slowest components are noise.
    """
    longest, n_pairs = max(lengths, default=0), sum(max(0, length - lag_frames) for length in lengths)
    if lag_frames < 1 or longest <= lag_frames:
        return (
            f"TICA at a lag of {lag_frames} frames needs a trajectory longer than that; the longest of the "
            f"{len(lengths)} has {longest}. Sample longer or lag less"
        )
    if n_pairs <= n_features:
        return (
            f"TICA of {n_features} features needs more pairs of frames than that; {len(lengths)} trajectories of up to "
            f"{longest} frames have {n_pairs} pairs at a lag of {lag_frames} frames. Sample longer or lag less"
        )
    return None


def fit_tica(
    trajectories: Sequence[NDArray[np.floating]], lag_frames: int, *, koopman_reweighting: bool = True
) -> TicaBasis:
    """Fit TICA with two components (deeptime, kinetic map) on feature trajectories (frames, d).

    No pair of frames spans two trajectories. With Koopman reweighting (Wu et al., J. Chem. Phys. 2017, 146,
    154104) averages are those of the estimated equilibrium, so that trajectories may start out of it; it
    needs more data than features. In each component the entry of largest magnitude is positive: a refit gives
    the same signs. Raises TicaError where the data do not suffice.
    """
    pieces = [piece for piece in trajectories if len(piece) > lag_frames]
    fault = tica_fault(
        [len(one) for one in trajectories], lag_frames, trajectories[0].shape[1] if pieces else 0
    )
    if fault:
        raise TicaError(fault)
    try:
        return _fit(pieces, lag_frames, koopman_reweighting)
    except (ArithmeticError, AssertionError, ValueError, np.linalg.LinAlgError) as error:
        # deeptime lets ill-conditioned data through to whichever of these its linear algebra meets first.
        n_pairs = sum(len(piece) - lag_frames for piece in pieces)
        raise TicaError(
            f"{n_pairs} pairs of frames at a lag of {lag_frames} do not determine the TICA basis of "
            f"{pieces[0].shape[1]} features ({type(error).__name__}: {error}). Sample longer, shorten the "
            "lag, or switch Koopman reweighting off"
        ) from error


def _fit(pieces: list[NDArray[np.floating]], lag_frames: int, koopman_reweighting: bool) -> TicaBasis:
    from deeptime.decomposition import TICA

    weights = _koopman_weights(pieces, lag_frames) if koopman_reweighting else None
    covariances = TICA.covariance_estimator(lagtime=lag_frames, ncov=_STORED_MOMENTS)
    for now, later in _pairs(pieces, lag_frames):
        covariances.partial_fit((now, later), weights=None if weights is None else weights.weights(now))
    model = TICA(lagtime=lag_frames, dim=N_COMPONENTS).fit(covariances.fetch_model()).fetch_model()
    projection = np.real(model.singular_vectors_left[:, :N_COMPONENTS])
    signs = np.sign(projection[np.abs(projection).argmax(axis=0), np.arange(projection.shape[1])])
    return TicaBasis(projection * signs, model.mean_0)


def _koopman_weights(pieces: list[NDArray[np.floating]], lag_frames: int) -> "KoopmanWeightingModel":
    from deeptime.covariance import KoopmanWeightingEstimator

    estimator = KoopmanWeightingEstimator(lagtime=lag_frames, ncov=_STORED_MOMENTS)
    for pair in _pairs(pieces, lag_frames):
        estimator.partial_fit(pair)
    weights = estimator.fetch_model()
    mean = weights.weights(weights.covariances.mean_0)
    if not np.isfinite(weights.weights_input).all() or not mean > 0.0:
        raise ArithmeticError(f"the mean of the equilibrium weights is {mean:.3g}")
    return weights


def _pairs(pieces: list[NDArray[np.floating]], lag_frames: int) -> Iterator[tuple[NDArray[np.float64], ...]]:
    from deeptime.util.data import timeshifted_split

    for pair in timeshifted_split(pieces, lagtime=lag_frames, chunksize=_FRAMES_PER_BLOCK):
        yield tuple(part.astype(np.float64) for part in pair)
