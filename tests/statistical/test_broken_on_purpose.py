"""Statistical tests are red where the code is wrong: an error is written into the source, and its test must fail.

It must fail by a number that is too large, and the line that is to be broken must be there.
"""

import inspect
import sys
import textwrap
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest

from baselines.annealing import langevin_move, reweighted
from baselines.md_flow import MDFlow
from baselines.parallel_tempering import ParallelTempering
from baselines.smc import SMC
from prosebench.ecnf.flow import CentredProposals
from tests.baselines import test_md_flow, test_replicas, test_tbg
from tests.statistical import test_smc

OURS = ("prosebench", "baselines", "jobs", "analysis", "tests")


class Error(NamedTuple):
    """In the source of `function`, what is right has become wrong; `test` sees it."""

    function: Any
    right: str
    wrong: str
    test: Callable[[], None]


estimate_of_z = partial(test_smc.test_the_estimate_of_z_is_unbiased, {})
estimate_of_z_by_moves = partial(test_smc.test_the_estimate_of_z_is_unbiased, {"moves": 4})
double_well = partial(test_smc.test_double_well, {})
mala = partial(test_smc.test_mala_leaves_the_target_alone, 3e-4)

ERRORS = {
    "sign of the weights": Error(
        reweighted, "_grown(log_ratio, change)", "_grown(-log_ratio, change)", estimate_of_z
    ),
    "sign of the weights in resampling": Error(
        SMC._step, "resample(log_weights,", "resample(-log_weights,", double_well
    ),
    "weights that resampling leaves": Error(
        SMC._step, "np.full(n, -math.log(n))", "log_weights[chosen] - math.log(n)", estimate_of_z
    ),
    "every move accepted": Error(
        langevin_move, "moved.where(accepted, points), accepted", "moved, accepted", mala
    ),
    "no density of the ways there and back": Error(
        langevin_move, "(there - back) / (4.0 * step_nm2)", "0.0", mala
    ),
    "a way back without its force": Error(langevin_move, "step_nm2 * moved.force(t)", "0.0", mala),
    "a schedule one step behind": Error(
        SMC._time, "(state.step + 1) / settings.steps", "state.step / settings.steps", estimate_of_z
    ),
    "a schedule that leaves out its first step": Error(
        SMC._step, "t - state.t)", "t - max(state.t, 1 / settings.steps))", estimate_of_z
    ),
    "moves at the time before": Error(
        SMC._step, "\n            t,", "\n            state.t,", estimate_of_z_by_moves
    ),
    "sign of the weights of TBG": Error(
        CentredProposals.log_weights,
        "- self.log_q",
        "+ self.log_q",
        test_tbg.test_weighted_energy_is_that_of_the_target_and_not_without_the_divergence,
    ),
    "sign of exchange": Error(
        ParallelTempering._exchange,
        "< log_ratio",
        "< -log_ratio",
        partial(test_replicas.test_exchange_keeps_every_level_at_its_temperature, None),
    ),
    "no density of the flow": Error(
        MDFlow._log_weights, "- log_q", "- 0.0 * log_q", test_md_flow.test_the_target_stays_as_it_is
    ),
    "every draw accepted": Error(
        MDFlow._round,
        "< log_weights[trial] - weight",
        "< np.inf",
        test_md_flow.test_the_target_stays_as_it_is,
    ),
    "a weight that is not that of the last draw": Error(
        MDFlow._round,
        "np.where(accepted, log_weights[trial], weight)",
        "weight",
        test_md_flow.test_the_target_stays_as_it_is,
    ),
    "velocities of half a step before": Error(
        MDFlow._round,
        "return PhaseState(positions, back)",
        "return PhaseState(positions, state.velocities_nm_ps)",
        test_md_flow.test_the_target_stays_as_it_is,
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error = ERRORS[name]
    put_in(error, monkeypatch)
    with pytest.raises(AssertionError, match=r"(?s)assert .* < "):
        error.test()


def put_in(error: Error, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the function by its broken form wherever it goes by its name."""
    source = textwrap.dedent(inspect.getsource(error.function))
    assert source.count(error.right) == 1
    names = dict(error.function.__globals__)
    exec(source.replace(error.right, error.wrong), names)
    *owner, name = error.function.__qualname__.split(".")
    if owner:
        monkeypatch.setattr(names[owner[0]], name, names[name])
        return
    for home in [module for path, module in sys.modules.items() if path.partition(".")[0] in OURS]:
        if getattr(home, name, None) is error.function:
            monkeypatch.setattr(home, name, names[name])
