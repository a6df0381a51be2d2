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
    n_states = min(n_states, len(reference))
    finite = np.isfinite(sample).all(axis=1)
    # One thread: the order of sums inside k-means, and so its last digits, must not depend on the machine.
    with threadpool_limits(limits=1):
        model = KMeans(n_clusters=n_states, random_state=0).fit(reference)
        states = np.full(len(sample), n_states)
        if finite.any():
            states[finite] = model.predict(sample[finite])
    n_shares = n_states + int(not finite.all())
    shares = (_shares(model.labels_, n_shares), _shares(states, n_shares))
    return float(jensenshannon(*shares, base=2) ** 2)


def _shares(states: NDArray[np.int64], n_states: int) -> NDArray[np.float64]:
    counts = np.bincount(states, minlength=n_states) + _PSEUDO_COUNT
    return counts / counts.sum()
