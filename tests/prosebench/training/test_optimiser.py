"""One or two optimisers behind one call: which weights each has, how far a step goes, and that a state comes back."""

import pytest
import torch
from torch import nn

from prosebench.training.optimiser import RunOptimiser, inner_matrices
from prosebench.training.recipe import OptimiserRecipe


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Linear(3, 16)
        self.inner = nn.Linear(16, 24)
        self.square = nn.Linear(24, 24)
        self.write = nn.Linear(24, 6)
        self.table = nn.Embedding(20, 16)
        self.norm = nn.LayerNorm(16)


def net(seed: int = 0) -> _Net:
    torch.manual_seed(seed)
    made = _Net()
    for value in made.parameters():
        value.grad = torch.randn_like(value)
    return made


def test_matrices_between_channels_are_inner_and_maps_of_coordinates_tables_and_norms_are_not() -> None:
    made = net()
    assert [id(one) for one in inner_matrices(made)] == [id(made.inner.weight), id(made.square.weight)]


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_every_weight_moves_and_none_where_the_rate_is_nothing(kind: str) -> None:
    made = net()
    optimiser = RunOptimiser(made, OptimiserRecipe(kind=kind))  # type: ignore[arg-type]
    before = {name: value.detach().clone() for name, value in made.named_parameters()}
    optimiser.step(0.0)
    assert all(torch.equal(value, before[name]) for name, value in made.named_parameters())
    optimiser.step(1e-2)
    # A row of the table that no batch has read would stay, but here all have gradients.
    assert all((value != before[name]).any() for name, value in made.named_parameters())


def test_the_steps_of_both_optimisers_are_of_one_size() -> None:
    """AdamW's first step is the rate for each number; Muon's are scaled so that their root mean square is 0.2 of it."""
    made = net()
    optimiser = RunOptimiser(made, OptimiserRecipe(kind="muon", weight_decay=0.0))
    before = {name: value.detach().clone() for name, value in made.named_parameters()}
    optimiser.step(1e-3)
    moved = {name: (value.detach() - before[name]) for name, value in made.named_parameters()}
    assert float(moved["read.weight"].square().mean().sqrt()) == pytest.approx(1e-3, rel=1e-3)
    for name in ("inner.weight", "square.weight"):
        assert float(moved[name].square().mean().sqrt()) == pytest.approx(0.2e-3, rel=0.2)


def test_the_steps_of_muon_turn_in_all_directions_alike() -> None:
    """Whatever the gradient's own singular values, those of a step are near each other."""
    made = net()
    u, _, v = torch.linalg.svd(torch.randn(24, 24))
    made.square.weight.grad = u @ torch.diag(torch.logspace(0, -2, 24)) @ v
    before = made.square.weight.detach().clone()
    RunOptimiser(made, OptimiserRecipe(kind="muon", weight_decay=0.0)).step(1e-3)
    values = torch.linalg.svdvals(made.square.weight.detach() - before)
    assert float(values.max() / values[:18].min()) < 2.0


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_state_that_is_put_back_goes_on_as_if_nothing_had_been(kind: str) -> None:
    recipe = OptimiserRecipe(kind=kind)  # type: ignore[arg-type]
    whole, halves = net(), net()
    one = RunOptimiser(whole, recipe)
    first = RunOptimiser(halves, recipe)
    for optimiser in (one, first):
        optimiser.step(1e-3)
    second = RunOptimiser(halves, recipe)
    second.load_state_dict(first.state_dict())
    for optimiser in (one, second):
        optimiser.step(1e-3)
    for mine, other in zip(whole.parameters(), halves.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_a_state_of_the_other_kind_is_refused() -> None:
    of_adamw = RunOptimiser(net(), OptimiserRecipe()).state_dict()
    with pytest.raises(ValueError, match="doesn't match the size"):
        RunOptimiser(net(), OptimiserRecipe(kind="muon")).load_state_dict(of_adamw)


def test_gradients_are_forgotten() -> None:
    made = net()
    RunOptimiser(made, OptimiserRecipe(kind="muon")).zero_grad()
    assert all(value.grad is None for value in made.parameters())
