"""Published dynamics beside ours: the ratio of both, on peptides that both have, and its line in the figure."""

import numpy as np
import pandas as pd
import pytest

from analysis.figures.scaling import scaling
from analysis.metrics.registry import BY_NAME
from analysis.tables.published_md import md_agreements, md_markdown, published_curve, published_md

PEPTIDES = ("ARIP", "GDTI", "RLMM", "AAAA")
"""The last one was not published."""


def ours(factor: float, **changes: object) -> pd.DataFrame:
    """Scores of `md`: the published distances times a factor, with a little noise, and some of a peptide of ours."""
    rng = np.random.default_rng(0)
    theirs = published_md()
    lines = theirs[theirs["peptide"].isin(PEPTIDES) & theirs["budget"].isin([10_000, 200_000])]
    own = lines[lines["peptide"] == "ARIP"].assign(peptide="AAAA", value=50.0)
    both = pd.concat([lines, own], ignore_index=True)
    noise = np.exp(rng.normal(0.0, 0.02, len(both)))
    common = {
        "row": "md", "method": "md", "length": 4, "status": "done", "weighting": "", "temperature_kelvin": 310.0,
        "reference_spread": np.nan, "reference_error": np.nan,
    }  # fmt: skip
    return both.assign(**(common | changes), value=both["value"] * factor * noise)


def test_the_ratio_of_both_is_found_on_common_peptides() -> None:
    found = md_agreements(ours(1.3))
    assert [(one.metric.name, one.budget) for one in found] == [
        (metric, budget) for metric in ("energy-w2", "torus-w2", "tica-w2") for budget in (10_000, 200_000)
    ]
    for one in found:
        assert one.ratio.n_peptides == 3
        assert one.ratio.value == pytest.approx(1.3, rel=0.05)
        low, high = one.ratio.ends
        assert low < one.ratio.value < high
    assert "| md | 4 | 10,000 | T-W2 | 1.3" in md_markdown(found)


def test_only_dynamics_at_the_published_temperature_is_compared() -> None:
    assert not md_agreements(ours(1.0, temperature_kelvin=400.0))
    assert not md_agreements(ours(1.0, method="smc-ula"))
    assert md_markdown([]) == ""


def test_the_published_curve_is_a_mean_over_the_peptides_asked_for() -> None:
    number, curve = published_curve(BY_NAME["torus-w2"], PEPTIDES)
    assert number == 3
    assert len(curve) == 17
    lines = published_md()
    mine = lines[
        lines["peptide"].isin(PEPTIDES) & (lines["budget"] == 1000) & (lines["metric"] == "torus-w2")
    ]
    assert curve[1000].value == pytest.approx(np.exp(np.log(mine["value"]).mean()))
    assert published_curve(BY_NAME["torus-w2"], ["AA"]) == (0, {})
    assert published_curve(BY_NAME["torus-k-jsd"], PEPTIDES) == (0, {})


def test_the_scaling_figure_draws_published_dynamics_where_it_has_the_peptides() -> None:
    (axes, *_) = scaling(ours(1.0), ("energy-w2",)).axes
    labels = [line.get_label() for line in axes.lines]
    assert "MD, published (3 of 4 peptides)" in labels
    drawn = axes.lines[labels.index("MD, published (3 of 4 peptides)")]
    assert len(drawn.get_xdata()) == 17
    hot = ours(1.0, temperature_kelvin=400.0)
    assert not any("published" in line.get_label() for line in scaling(hot, ("energy-w2",)).axes[0].lines)
