import numpy as np
import pandas as pd
import pytest

from analysis.agreement import agreement_markdown, agreements


def scores(values: list[float], **changes: object) -> pd.DataFrame:
    common = {
        "suite": "s", "length": 4, "peptide": "ARIP", "row": "prose-snis", "method": "prose-snis", "budget": 10_000,
        "metric": "energy-w2", "frames": 9_980, "status": "done", "temperature_kelvin": 310.0, "cell_id": "c",
    } | changes  # fmt: skip
    return pd.DataFrame([common | {"seed": seed, "value": value} for seed, value in enumerate(values)])


def test_sigma_is_the_difference_in_standard_errors():
    values = [1.5, 1.9, 2.3, 2.7]
    (found,) = agreements(scores(values), {"ARIP": True})
    error = np.hypot(0.369 / np.sqrt(5), np.std(values, ddof=1) / 2.0)
    assert found.sigma == pytest.approx((2.1 - 1.484) / error)
    assert found.differs == ()
    # A single seed is taken to spread as the published ones do.
    (one,) = agreements(scores([2.1]), {"ARIP": True})
    assert one.sigma == pytest.approx((2.1 - 1.484) / (0.369 * np.sqrt(1 / 5 + 1)))


def test_what_is_not_as_published_is_said():
    (found,) = agreements(scores([2.0], frames=1000, row="prose [weights=own]", temperature_kelvin=400.0))
    assert found.differs == ("own reference", "1,000 frames, not 10,000", "settings of its own", "at 400 K")
    for name, differs in (("prose-up-to-8aa", ()), ("prose-mini", ("weights prose-mini",))):
        (one,) = agreements(scores([2.0]), {"ARIP": True}, {"c": name})
        assert one.differs == differs
    text = agreement_markdown([found])
    assert "own reference" in text
    assert "1.484 ± 0.37" in text


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
