"""Two samplers on the same peptides at the same budget: is one better, and by how much?"""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis.scores.table import read_scores
from analysis.statistics.comparisons import compare, peptide_means

# The scores of a run folder: a line for each peptide, row, seed, budget and metric. This run is kept in the checkout;
# `prosebench score DIR` writes the same table as DIR/scores.csv. `pandas.read_csv` would take the peptide NA for a gap.
scores = read_scores(Path(__file__).parents[3] / "results" / "runs" / "dipeptides-30" / "scores.csv")

METRIC, BUDGET, ONE, OTHER = "torus-w2", 10_000, "arbg-snis (arbg-small)", "md"
of_metric = scores[(scores["metric"] == METRIC) & (scores["budget"] == BUDGET)]
competing = of_metric[of_metric["weighting"].fillna("").isin(["", "smoothed"])]
one, other = (competing[competing["row"] == row] for row in (ONE, OTHER))

found = compare(one, other)
ratio = found.effect
print(
    f"{METRIC} at {BUDGET:,} evaluations: {found.pair} = {ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
)
print(f"smaller on {found.wins} of {ratio.n_peptides} peptides; {found.test}, p = {found.p:.1e}")
print(f"so few peptides would have told a ratio of {found.detectable:.1f} from 1 in 80 % of such runs")

figure = Figure(figsize=(5.0, 4.0), layout="constrained")
axes = figure.subplots()
means = pd.DataFrame({ONE: peptide_means(one), OTHER: peptide_means(other)})
for _, (left, right) in means.iterrows():
    axes.plot([0, 1], [left, right], "o-", color="#0072B2", linewidth=1)
for side, column in enumerate((ONE, OTHER)):
    farthest = str(means[column].idxmax())
    axes.annotate(
        farthest, (side, means[column].max()), xytext=(6, 0), textcoords="offset points", va="center"
    )
axes.set(xticks=[0, 1], xlim=(-0.3, 1.3), yscale="log", ylabel="T-W2 (rad)", ylim=(0.1, 2.0))
axes.set_xticklabels([ONE, OTHER])
axes.set_yticks([0.1, 0.2, 0.5, 1.0], ["0.1", "0.2", "0.5", "1"])
axes.minorticks_off()
figure.savefig("two_samplers.png", dpi=150)
