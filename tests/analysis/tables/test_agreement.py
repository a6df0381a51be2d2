import numpy as np
import pandas as pd
import pytest

from analysis.tables.agreement import agreement_markdown, agreements
from baselines.smc import SMCMALA
from prosebench.prose.self_improvement import ProseSelfImprove
from prosebench.prose.snis import ProseSNIS


def scores(values: list[float], **changes: object) -> pd.DataFrame:
    common = {
        "suite": "s", "length": 4, "peptide": "ARIP", "row": "prose-snis", "method": "prose-snis", "budget": 10_000,
        "metric": "energy-w2", "frames": 9_980, "status": "done", "temperature_kelvin": 310.0, "cell_id": "c",
        "weighting": "filtered",
    } | changes  # fmt: skip
    return pd.DataFrame([common | {"seed": seed, "value": value} for seed, value in enumerate(values)])


AS_PUBLISHED = {"c": {"weights": "prose-up-to-8aa", "com": "published", "batch": 64}}


def test_sigma_is_the_difference_in_standard_errors():
    values = [1.5, 1.9, 2.3, 2.7]
    (found,) = agreements(scores(values), {"ARIP": True}, AS_PUBLISHED)
    error = np.hypot(0.369 / np.sqrt(5), np.std(values, ddof=1) / 2.0)
    assert found.sigma == pytest.approx((2.1 - 1.484) / error)
    assert found.differs == ()
    # A single seed is taken to spread as the published ones do.
    (one,) = agreements(scores([2.1]), {"ARIP": True}, AS_PUBLISHED)
    assert one.sigma == pytest.approx((2.1 - 1.484) / (0.369 * np.sqrt(1 / 5 + 1)))


def test_where_something_is_not_as_published_that_is_said_and_no_sigma():
    settings = {"c": {"weights": "prose-mini", "com": "none"}}
    (found,) = agreements(scores([2.0], frames=1000, temperature_kelvin=400.0), {}, settings)
    assert found.differs == (
        "weights prose-mini", "com = none, not published", "own reference", "1,000 frames, not 10,000", "at 400 K",
    )  # fmt: skip
    assert np.isnan(found.sigma)
    line = agreement_markdown([found]).splitlines()[2]
    assert "| – | weights prose-mini; " in line
    assert "1.484 ± 0.37" in line
    (unknown,) = agreements(scores([2.0]), {"ARIP": True})
    assert unknown.differs == ("settings that are not known",)
    assert (
        agreement_markdown(agreements(scores([2.0]), {"ARIP": True}, AS_PUBLISHED)).count("| nothing |") == 1
    )


@pytest.mark.parametrize(
    ("method", "made", "told"),
    [
        ("prose-snis", lambda: ProseSNIS.Settings(weights="prose-up-to-8aa", com="published"), ()),
        (
            "prose-snis",
            lambda: ProseSNIS.Settings(weights="prose-up-to-8aa"),
            ("com = gaussian, not published",),
        ),
        (
            "prose-self-improve",
            lambda: ProseSelfImprove.Settings(weights="prose-up-to-8aa", com="published"),
            (),
        ),
        (
            "prose-self-improve",
            lambda: ProseSelfImprove.Settings(weights="prose-up-to-8aa", com="published", steps=5),
            ("steps = 5, not 250",),
        ),
        (
            "smc-mala",
            lambda: SMCMALA.Settings(
                proposal_settings={"weights": "prose-up-to-8aa"}, published_schedule=True
            ),
            (),
        ),
        (
            "smc-mala",
            lambda: SMCMALA.Settings(),
            ("weights prose-mini", "published_schedule = False, not True"),
        ),
    ],
)
def test_the_methods_own_settings_are_as_published_or_say_in_what_not(
    method: str, made, told: tuple[str, ...]
):
    """Of annealing the weights are those of its proposal; its default schedule ends at t = 1, the published before."""
    settings = {"c": made().model_dump(mode="json")}
    lines = scores([1.5], method=method, row="a row", budget=10_000 if method == "prose-snis" else 1_000_000)
    (found,) = agreements(lines, {"ARIP": True}, settings)
    assert found.differs == told


def test_other_peptides_budgets_and_methods_have_nothing_to_agree_with():
    for changes in (
        {"peptide": "AA"},
        {"budget": 5},
        {"method": "md"},
        {"status": "failed"},
        {"metric": "x"},
    ):
        assert agreements(scores([1.0], **changes)) == []
    assert agreement_markdown([]) == ""
