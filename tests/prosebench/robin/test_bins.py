import math

import pytest
import torch

from prosebench.robin.bins import from_bins, inside, log_width_nm, to_bins

from .conftest import tiny_config

CONFIG = tiny_config(bins=19)  # 0.5 units from centre to centre


def test_a_coordinate_is_in_the_bin_with_the_nearest_centre():
    u = torch.tensor([-4.5, -4.26, -4.24, 0.0, 0.24, 0.26, 4.5, 4.74, 9.0, -9.0], dtype=torch.float64)
    assert to_bins(u, CONFIG).tolist() == [0, 0, 1, 9, 9, 10, 18, 18, 18, 0]
    assert inside(u, CONFIG).tolist() == [True] * 8 + [False] * 2


def test_bins_leave_no_gap():
    bins = torch.arange(CONFIG.bins)
    lower, upper = (from_bins(bins, torch.tensor(share, dtype=torch.float64), CONFIG) for share in (0.0, 1.0))
    torch.testing.assert_close(lower[1:], upper[:-1], rtol=0, atol=1e-12)
    assert (lower[0], upper[-1]) == (-4.75, 4.75)


@pytest.mark.parametrize("size", [19, 8192])
def test_what_is_drawn_in_a_bin_is_found_in_it(size):
    config = tiny_config(bins=size)
    bins = torch.arange(size).repeat(3)
    shares = torch.rand(len(bins), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    u = from_bins(bins, shares, config)
    assert torch.equal(to_bins(u, config), bins)
    assert inside(u, config).all()


def test_width_in_nm():
    assert log_width_nm(CONFIG) == pytest.approx(math.log(0.5 * 0.35))
