"""Do the weights of proposals see all of the target? Reference frames, weighted by the same densities, can tell.

Weights say nothing of a state that no proposal has reached: they look as well-behaved as can be (k-hat does not see
it), and the state is missing. Where the method's density of reference frames is known, its log-weights
log p(x) - log q(x) of frames drawn from p stand beside those of frames drawn from q.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logsumexp

Floats = NDArray[np.float64]


def log_z(of_proposals: Floats) -> float:
    """Logarithm of the mean weight of proposals, from their log-weights (n,): -inf where none has any."""
    return float(logsumexp(of_proposals) - math.log(len(of_proposals)))


def log_z_bar(of_proposals: Floats, of_reference: Floats) -> float:
    """The constant of `log_z` by Bennett's acceptance ratio (J. Comput. Phys. 1976, 22, 245).

    Takes log-weights (n,) of frames drawn from the proposal and (m,) of frames drawn from the target. The constant c
    solves sum over proposals of 1 / (1 + exp(M - w + c)) = sum over reference frames of 1 / (1 + exp(-M + w - c)), with
    M = log(n / m). NaN where a side has no finite weight.
    """
    draws = of_proposals[np.isfinite(of_proposals)]
    truth = of_reference[np.isfinite(of_reference)]
    if not (len(draws) and len(truth)):
        return math.nan
    ratio = math.log(len(of_proposals) / len(of_reference))

    def excess(c: float) -> float:
        return float(expit(draws - ratio - c).sum() - expit(ratio - truth + c).sum())

    both = np.concatenate([draws, truth])
    return float(brentq(excess, both.min() - 50.0, both.max() + 50.0))
