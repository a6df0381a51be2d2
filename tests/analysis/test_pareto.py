import numpy as np
import pytest

from analysis.pareto import k_hat


@pytest.mark.parametrize("shape", [0.2, 0.5, 0.9])
def test_the_shape_of_a_pareto_tail_is_found(shape: float):
    uniform = np.random.default_rng(0).random(100_000)
    # Weights with survival x^(-1/shape) have a generalised Pareto tail of exactly this shape.
    assert k_hat(-shape * np.log(uniform)) == pytest.approx(shape, abs=0.07)


def test_the_offset_and_weights_of_zero_do_not_matter():
    values = np.random.default_rng(1).normal(size=2000)
    assert k_hat(values + 700.0) == pytest.approx(k_hat(values))
    assert k_hat(np.append(values, [-np.inf, np.nan])) == pytest.approx(k_hat(values))


def test_equal_weights_have_no_tail_and_few_say_nothing():
    assert k_hat(np.zeros(1000)) == 0.0
    assert np.isnan(k_hat(np.arange(20.0)))
