"""Jensen-Shannon divergence between two sets of points over states found by k-means on the reference."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

N_STATES = 20
_PSEUDO_COUNT = 1e-10


def kmeans_jsd(
    reference: NDArray[np.floating], sample: NDArray[np.floating], n_states: int = N_STATES
) -> float:
    """Squared base-2 Jensen-Shannon distance (0 to 1) between the state shares of two sets of points (n, d).

    The states are those of k-means with random_state 0, fitted on the reference; where the reference has
    fewer points than n_states, each point is a state. A point of the sample that is not finite is in a state
    of its own. As in the published protocol the data keep their precision, and every state gets a
    pseudo-count of 1e-10.
    """
    if not len(reference) or not len(sample):
        raise ValueError(
            f"there is nothing to compare: {len(reference)} reference and {len(sample)} sample points"
        )
    if not np.isfinite(reference).all():
        raise ValueError("the reference holds points that are not finite")
    of_reference, of_sample, n_shares = states(reference, sample, n_states)
    shares = (state_shares(of_reference, n_shares), state_shares(of_sample, n_shares))
    return float(jensenshannon(*shares, base=2) ** 2)


def states(
    reference: NDArray[np.floating], sample: NDArray[np.floating], n_states: int = N_STATES
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """State of each reference point (n,) and of each sample point (m,), and the number of states.

    States are those of `kmeans_jsd`; where a point of the sample is not finite there is one more.
    """
    n_states = min(n_states, len(reference))
    model = kmeans(reference, n_states)
    found = np.full(len(sample), n_states)
    finite = np.isfinite(sample).all(axis=1)
    if finite.any():
        with threadpool_limits(limits=1):
            found[finite] = model.predict(sample[finite])
    return model.labels_.astype(np.int64), found, n_states + int(not finite.all())


def kmeans(points: NDArray[np.floating], n_states: int) -> KMeans:
    """K-means with random_state 0 fitted on points (n, d), the same on any machine."""
    # One thread: the order of sums inside k-means, and so its last digits, must not depend on the machine.
    with threadpool_limits(limits=1):
        return KMeans(n_clusters=n_states, random_state=0).fit(points)


def state_shares(found: NDArray[np.int64], n_states: int) -> NDArray[np.float64]:
    """The share of the points in each state, with the published pseudo-count."""
    counts = np.bincount(found, minlength=n_states) + _PSEUDO_COUNT
    return counts / counts.sum()
