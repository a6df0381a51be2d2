from matplotlib.figure import Figure

from prosebench.training.curve import _draw_losses


def test_steps_that_went_astray_do_not_hide_the_curve() -> None:
    """One row without a finite loss and one far off, of a loss from 2 to 0."""
    losses = [2.0 - index / 50 for index in range(100)]
    losses[40], losses[60] = float("nan"), 1e6
    rows = [{"frames": float(index), "loss": loss} for index, loss in enumerate(losses)]
    axes = Figure().subplots()
    _draw_losses(axes, rows)
    low, high = axes.get_ylim()
    assert -0.2 < low < min(losses)
    assert 1.5 < high < 2.2
    drawn, smoothed = axes.lines
    assert len(drawn.get_xdata()) == len(smoothed.get_xdata()) == 99
    assert max(smoothed.get_ydata()) <= 2.0
