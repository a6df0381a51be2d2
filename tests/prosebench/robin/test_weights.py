"""Files of the published format: a Lightning checkpoint, with its training beside the weights."""

import functools
import json

import numpy as np
import pytest
import torch
from torch import nn

from prosebench.flows.weights.files import WeightsError
from prosebench.robin.config import load_size
from prosebench.robin.flow import Robin
from prosebench.robin.network import Network
from prosebench.robin.weights import load_weights, published_name, save_weights, to_published
from prosebench.store.storage import file_sha256

from .conftest import tiny_network


@pytest.fixture
def network() -> Network:
    return tiny_network(dtype=torch.float32)


@pytest.fixture
def size(tmp_path, network):
    """A size file of the tiny network; tables have other numbers of rows, which the checkpoint decides."""
    config = network.config.model_dump(mode="json", exclude={"description"}) | {
        "max_atoms": 7,
        "atom_rows": 9,
    }
    path = tmp_path / "tiny.toml"
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in config.items()))
    return path


class StandIn(nn.Module):
    """Of a class that is not known where the checkpoint is read."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)


def checkpoint(state, **more):
    """As Lightning writes it: weights under the attribute's name, and what the model was made with."""
    constants = {"pos_embed.pe": torch.zeros(120, 16), "blocks.0.attn.causal_mask": torch.ones(3, 3).bool()}
    return {
        "epoch": 3,
        "state_dict": {f"net.{name}": value for name, value in (constants | state).items()} | more,
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}}],
        "hyper_parameters": {
            "net": StandIn(),
            "optimizer": functools.partial(torch.optim.AdamW, lr=1e-3),
            "num_bins": 32,
        },
    }


def assert_same(ours: Network, theirs: Network):
    ours_state, theirs_state = ours.state_dict(), theirs.state_dict()
    assert ours_state.keys() == theirs_state.keys()
    assert all(torch.equal(ours_state[name], theirs_state[name]) for name in ours_state)


def test_every_published_name_is_there_once():
    with torch.device("meta"):
        network = Network(load_size("robin-8aa"))
    names = [published_name(name) for name in network.state_dict()]
    assert len(set(names)) == len(names) == 143
    assert not any("*" in name for name in names)
    assert sum(value.numel() for value in network.parameters()) == pytest.approx(132e6, rel=0.005)


def test_a_checkpoint_becomes_a_file_of_ours(tmp_path, network, size):
    path, own = tmp_path / "robin.ckpt", tmp_path / "mine.npz"
    torch.save(checkpoint(to_published(network)), path)
    loaded = load_weights(path, size=size)
    assert_same(loaded.network, network)
    assert loaded.source == {"file": "robin.ckpt", "sha256": file_sha256(path)}
    assert loaded.network.config.max_atoms == 40
    save_weights(own, loaded.network, {"from": loaded.source})
    again = load_weights(own)
    assert_same(again.network, network)
    assert again.source["notes"] == {"from": loaded.source}
    frames = 0.1 * np.random.default_rng(0).standard_normal((3, 17, 3))
    densities = [Robin(weights.network, device="cpu").log_prob("GG", frames) for weights in (loaded, again)]
    np.testing.assert_array_equal(*densities)


def test_the_average_over_training_is_taken_where_there_is_one(tmp_path, network, size):
    """An EMA keeps its weights as a list, whose names are numbers, beside the network itself."""
    average = tiny_network(1, dtype=torch.float32)
    # A module's own parameters come before those of its parts, in a state as in a list.
    raw = {f"model.{name}": value for name, value in to_published(network).items()}
    listed = {f"net.shadow_params.{i}": value for i, value in enumerate(to_published(average).values())}
    path = tmp_path / "ema.ckpt"
    torch.save(checkpoint(raw, **listed, **{"net.num_updates": torch.tensor(5)}), path)
    loaded = load_weights(path, size=size)
    assert_same(loaded.network, average)
    assert loaded.source["set"].endswith("shadow_params")


def explode():
    raise AssertionError("code that a file names was run")


class Bomb:
    def __reduce__(self):
        return (explode, ())


def test_a_checkpoint_runs_nothing(tmp_path, network, size):
    path = tmp_path / "bomb.ckpt"
    torch.save(checkpoint(to_published(network)) | {"loops": Bomb()}, path)
    assert_same(load_weights(path, size=size).network, network)


def test_what_does_not_fit_is_named(tmp_path, network, size):
    state = to_published(network)
    state["blocks.1.ff.net.2.bias"] = torch.zeros(3)
    path = tmp_path / "robin.ckpt"
    torch.save(checkpoint(state), path)
    with pytest.raises(WeightsError, match=r"blocks\.1\.ff\.net\.2\.bias is \(3,\) and should be \(16,\)"):
        load_weights(path, size=size)
    torch.save({"state_dict": {"net.other": torch.zeros(2)}}, path)
    with pytest.raises(WeightsError, match="holds no weights of a Robin"):
        load_weights(path, size=size)
    with pytest.raises(
        WeightsError, match=r"there are no weights 'robyn'; known: breathing, robin-up-to-8aa"
    ):
        load_weights("robyn")
