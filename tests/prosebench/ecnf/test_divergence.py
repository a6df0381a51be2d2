from pathlib import Path

import numpy as np
import pytest
import torch

from prosebench.check.ecnf_vectors import check_ecnf
from prosebench.ecnf import divergence
from prosebench.ecnf.divergence import hutchinson, velocity_and_divergence
from prosebench.flows.weights.files import WeightsError

from .conftest import some, tiny_field

VECTORS = Path(__file__).parents[2] / "conformance" / "ecnf_tiny.npz"


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_exact_divergence_is_the_trace_of_the_jacobian(layers: int) -> None:
    field = tiny_field(layers=layers)
    t, x, nodes = some(field, 2)
    velocity, found = velocity_and_divergence(field, t, x, nodes)
    torch.testing.assert_close(velocity, field(t, x, nodes))
    for i in range(2):
        jacobian = torch.autograd.functional.jacobian(
            lambda y, i=i: field(t[i : i + 1], y[None], nodes)[0].flatten(), x[i]
        )
        torch.testing.assert_close(found[i], jacobian.flatten(1).trace(), rtol=1e-10, atol=1e-10)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    field = tiny_field()
    expected = velocity_and_divergence(field, *some(field))[1]
    monkeypatch.setattr(divergence, "BLOCK_NUMBERS", {"cpu": 1})
    torch.testing.assert_close(velocity_and_divergence(field, *some(field))[1], expected)


def test_the_divergence_can_be_differentiated() -> None:
    field = tiny_field()
    t, x, nodes = some(field, 1)
    x = x.requires_grad_()
    gradient = torch.autograd.grad(velocity_and_divergence(field, t, x, nodes)[1].sum(), x)[0]
    direction, h = torch.randn_like(x), 1e-5
    with torch.no_grad():
        above, below = (velocity_and_divergence(field, t, x + s * h * direction, nodes)[1] for s in (1, -1))
    assert float((gradient * direction).sum()) == pytest.approx(
        float((above - below).sum()) / (2 * h), rel=1e-6
    )


def test_hutchinson_is_right_on_average_only() -> None:
    field = tiny_field()
    t, x, nodes = some(field, 1)
    n = 4000
    signs = 2.0 * torch.randint(0, 2, (n, *x.shape[1:])).double() - 1.0
    _, estimates = hutchinson(field, t.repeat(n), x.repeat(n, 1, 1), nodes, signs)
    exact = float(velocity_and_divergence(field, t, x, nodes)[1].detach())
    error = float(estimates.std()) / n**0.5
    assert error > 0.01
    assert abs(float(estimates.mean()) - exact) < 4 * error


def test_published_numbers() -> None:
    checks = check_ecnf(VECTORS)
    assert len(checks) == 8
    assert max(check.error for check in checks) < 1e-12


def changed(path: Path, name: str, value) -> Path:
    arrays = dict(np.load(VECTORS))
    arrays[name] = value(arrays[name])
    np.savez(path, **arrays)
    return path


def test_wrong_numbers_and_weights_are_found(tmp_path: Path) -> None:
    path = changed(tmp_path / "ecnf_x.npz", "AA/t0.7/divergence", lambda d: d * (1 + 3e-6))
    assert [check.quantity for check in check_ecnf(path) if not check.passed] == ["AA t = 0.7 divergence"]
    path = changed(tmp_path / "ecnf_x.npz", "state/egnn.gcl_1.att_mlp.0.weight", lambda w: w[:, :9])
    with pytest.raises(
        WeightsError, match=r"egnn.gcl_1.att_mlp.0.weight is \(1, 9\) and should be \(1, 32\)"
    ):
        check_ecnf(path)
