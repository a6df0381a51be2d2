import pytest
import torch

from prosebench.flows.sizes import ConfigError
from prosebench.prose.config import ProseConfig, load_size, size_names
from prosebench.prose.network import Network

from .conftest import tiny_config


def n_parameters(name):
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Network(load_size(name)).parameters())


@pytest.mark.parametrize(("name", "millions"), [("prose-8aa", 285), ("tarflow-8aa", 115)])
def test_published_sizes(name, millions):
    assert n_parameters(name) / 1e6 == pytest.approx(millions, rel=0.015)


@pytest.mark.parametrize("name", size_names())
def test_every_size_loads_and_can_be_built(name):
    assert n_parameters(name) > 5e5


def test_mini_fits_the_repository():
    assert 2 * n_parameters("prose-mini") < 16 * 2**20


def test_ablations_leave_out_one_thing():
    full = load_size("prose-8aa").model_dump(exclude={"description"})
    for name, part in (
        ("residue-by-residue", "orders"),
        ("no-transition", "transition"),
        ("no-lookahead", "lookahead"),
    ):
        ablation = load_size(f"prose-8aa-{name}").model_dump(exclude={"description"})
        assert {key for key in full if full[key] != ablation[key]} == {part}


def test_orders_are_taken_in_turn():
    config = tiny_config(blocks=3, orders=("n2c_backbone-first_standard", "n2c_backbone-first_standard_flip"))
    assert config.block_orders == (config.orders[0], config.orders[1], config.orders[0])


def test_unknown_size_and_bad_files_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"unknown size 'prose-9aa'; known: .*prose-8aa, .*tarflow-8aa"):
        load_size("prose-9aa")
    path = tmp_path / "mine.toml"
    path.write_text("channels = 16\nhead_dim = 8\nblocks = 2\nlayers_per_block = 1\nheads = 2\n")
    with pytest.raises(ConfigError, match=r"unknown key 'heads'; known keys: .*channels"):
        load_size(path)
    path.write_text("channels = ")
    with pytest.raises(ConfigError, match="is not TOML"):
        load_size(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"head_dim": 12}, "multiple of head_dim"),
        ({"conditioning": "additive"}, "a transition needs"),
        ({"orders": ("sideways",)}, "unknown order 'sideways'"),
        ({"blocks": 0}, "greater than 0"),
    ],
)
def test_what_cannot_be_built_is_refused(change, reason):
    with pytest.raises(ValueError, match=reason):
        ProseConfig.model_validate(tiny_config().model_dump() | change)
