import json

import pytest
import torch
from safetensors.torch import save_file

from prosebench.flows.weights.files import Uninitialised, WeightsError
from prosebench.prose.config import load_size
from prosebench.prose.network import Network
from prosebench.prose.weights import (
    FORMAT,
    from_published,
    load_weights,
    published_name,
    save_weights,
    to_published,
)
from prosebench.store.places import HUB_REPOSITORY
from prosebench.store.storage import file_sha256

from .conftest import tiny_network


@pytest.fixture
def network():
    return tiny_network(dtype=torch.float32)


def test_a_network_to_be_filled_draws_no_numbers(network):
    state = torch.get_rng_state()
    with Uninitialised():
        made = Network(network.config)
    assert torch.equal(torch.get_rng_state(), state)
    made.load_state_dict(network.state_dict())
    assert_same(made.state_dict(), network.state_dict())
    Network(network.config)
    assert not torch.equal(torch.get_rng_state(), state)


@pytest.fixture
def size(tmp_path, network):
    """A size file of the tiny network."""
    config = network.config.model_dump(mode="json", exclude={"description"})
    path = tmp_path / "tiny.toml"
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in config.items()))
    return path


def published(network):
    """The content of a published file: weights under their names, and a constant mask per block."""
    masks = {f"blocks.{i}.attn_mask": torch.ones(5, 5).tril() for i in range(network.config.blocks)}
    return {name: value.clone() for name, value in to_published(network).items()} | masks


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("name", ["prose-8aa", "tarflow-8aa"])
def test_every_published_name_is_there_once(name):
    with torch.device("meta"):
        names = [published_name(name) for name in Network(load_size(name)).state_dict()]
    assert len(set(names)) == len(names)
    assert not any("*" in name for name in names)
    assert "blocks.7.attn_blocks.7." in " ".join(names)


@pytest.mark.parametrize(
    "nest",
    [
        lambda state: state,
        lambda state: {
            "state_dict": {f"net._orig_mod.{name}": value for name, value in state.items()},
            "epoch": 3,
        },
        lambda state: {
            "state_dict": {f"net.{name}": torch.zeros_like(value) for name, value in state.items()}
            | {f"ema_model.net.{name}": value for name, value in state.items()}
            | {"ema_model.n_averaged": torch.tensor(7)}
        },
        lambda state: {
            "model": {name: torch.zeros_like(v) for name, v in state.items()},
            "ema": {"shadow": state},
        },
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".ckpt"])
def test_torch_files_round_trip(tmp_path, network, size, nest, suffix):
    path = tmp_path / f"mine{suffix}"
    torch.save(nest(published(network)), path)
    loaded = load_weights(path, size=size)
    assert_same(loaded.network.state_dict(), network.state_dict())
    assert loaded.source | {"file": path.name, "sha256": file_sha256(path)} == loaded.source
    assert not loaded.network.training


def test_safetensors_round_trip(tmp_path, network, size):
    path = tmp_path / "mine.safetensors"
    save_file(published(network), path)
    assert_same(load_weights(path, size=size).network.state_dict(), network.state_dict())
    whole = path.read_bytes()
    for content in (whole[:-100], whole[:6], b"", b"\xff" * 64):
        path.write_bytes(content)
        with pytest.raises(
            WeightsError, match=r"mine\.safetensors cannot be read as weights .*; get it again"
        ):
            load_weights(path, size=size)


def others(state):
    """Weights of another moment of training."""
    return {name: torch.zeros_like(value) for name, value in state.items()}


def parameters(state):
    """Weights in the order of a network's parameters, without their names."""
    return [value for name, value in state.items() if not name.endswith("attn_mask")]


@pytest.mark.parametrize(
    ("nest", "taken", "left"),
    [
        (lambda raw, ema: {"ema_model": ema, "non_ema": raw}, "ema_model/", ["non_ema/"]),
        (
            lambda raw, ema: {"state_dict": ema, "state_dict_no_ema": raw},
            "state_dict/",
            ["state_dict_no_ema/"],
        ),
        (lambda raw, ema: {"model_without_ema": raw, "EMAModel": ema}, "EMAModel/", ["model_without_ema/"]),
        (lambda raw, ema: {"schema": raw, "averaged_model": ema}, "averaged_model/", ["schema/"]),
        (
            lambda raw, ema: {"m": raw, "optimiser": {"ema": {"weights": ema}}},
            "optimiser/ema/weights/",
            ["m/"],
        ),
        (lambda raw, ema: raw | {f"ema.{n}": v for n, v in ema.items()}, "ema.", ["the outermost names"]),
        (
            lambda raw, ema: {"model": raw, "ema": {"decay": 0.9, "shadow_params": parameters(ema)}},
            "ema/shadow_params/",
            ["model/"],
        ),
    ],
)
def test_the_average_is_taken_by_structure(tmp_path, network, size, nest, taken, left):
    state = published(network)
    torch.save(nest(others(state), state), tmp_path / "a.pth")
    loaded = load_weights(tmp_path / "a.pth", size=size)
    assert_same(loaded.network.state_dict(), network.state_dict())
    assert (loaded.source["set"], loaded.source["other_sets"]) == (taken, left)


def test_an_average_that_cannot_be_named_is_not_passed_over(tmp_path, network, size):
    state = published(network)
    torch.save({"model": state, "ema": {"shadow_params": parameters(state)[1:]}}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"a\.pth: ema/shadow_params/ is an average kept as a list of"):
        load_weights(tmp_path / "a.pth", size=size)


def test_own_file_round_trips_with_its_notes(tmp_path, network):
    path = tmp_path / "mine.npz"
    sha256 = save_weights(path, network, {"recipe": "mini", "seed": 3})
    loaded = load_weights(path)
    assert loaded.network.config == network.config
    assert_same(loaded.network.state_dict(), network.state_dict())
    assert loaded.source == {"file": "mine.npz", "sha256": sha256, "notes": {"recipe": "mini", "seed": 3}}


def test_own_file_in_half_precision_is_half_as_large(tmp_path, network):
    save_weights(tmp_path / "full.npz", network, {})
    save_weights(tmp_path / "half.npz", network, {}, half=True)
    assert (tmp_path / "half.npz").stat().st_size < 0.7 * (tmp_path / "full.npz").stat().st_size
    ours, theirs = load_weights(tmp_path / "half.npz").network.state_dict(), network.state_dict()
    assert all(torch.allclose(ours[name], theirs[name], rtol=1e-3, atol=1e-4) for name in ours)


def test_rows_of_the_embeddings_are_those_of_the_file(network):
    state = published(network)
    state["cond_embed.atom_embed.weight"] = torch.randn(55, 16)
    assert from_published(state, network.config).embedding.atom.weight.shape == (55, 16)


def test_a_wrong_file_is_refused_with_the_first_differences(tmp_path, network, size):
    state = published(network)
    state["blocks.0.proj_in.weight"] = torch.zeros(17, 3)
    del state["blocks.1.proj_out.bias"]
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(
        WeightsError, match=r"lacks blocks.1.proj_out.bias \(6,\); blocks.0.proj_in.weight is \(17, 3\)"
    ):
        load_weights(tmp_path / "a.pth", size=size)
    torch.save(published(network), tmp_path / "b.pth")
    with pytest.raises(WeightsError, match=r"does not fit this size: lacks .*; and \d+ more"):
        load_weights(tmp_path / "b.pth")


def test_files_from_before_zip_archives_are_read(tmp_path, network, size):
    path = tmp_path / "old.pth"
    torch.save(published(network), path, _use_new_zipfile_serialization=False)
    assert_same(load_weights(path, size=size).network.state_dict(), network.state_dict())


def test_weights_that_are_not_finite_are_refused(tmp_path, network, size):
    with torch.no_grad():
        network.blocks[1].project_in.weight[3, 1] = float("nan")
    save_weights(tmp_path / "a.npz", network, {})
    with pytest.raises(
        WeightsError, match=r"a\.npz holds numbers that are not finite in blocks\.1\.project_in"
    ):
        load_weights(tmp_path / "a.npz")
    torch.save(published(network), tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"a\.pth holds numbers that are not finite in blocks\.1\.proj_in"):
        load_weights(tmp_path / "a.pth", size=size)


def test_an_own_file_takes_no_size(tmp_path, network, size):
    save_weights(tmp_path / "a.npz", network, {})
    with pytest.raises(WeightsError, match=r"a\.npz knows its own size; leave size .* out"):
        load_weights(tmp_path / "a.npz", size=size)


def test_a_cut_file_is_refused(tmp_path, network):
    save_weights(tmp_path / "a.npz", network, {})
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightsError, match=r"a\.npz is not a model of prosebench .*; get it again"):
        load_weights(tmp_path / "a.npz")


@pytest.mark.parametrize("content", [b"", b"nothing", None])
def test_what_holds_no_weights_is_refused(tmp_path, content):
    path = tmp_path / "a.pth"
    if content is None:
        torch.save({"weight": torch.zeros(3)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"holds no weights|cannot be read"):
        FORMAT.read_state(path)


def test_code_in_a_pickle_is_not_run(tmp_path, capsys):
    class Nasty:
        def __reduce__(self):
            return print, ("run",)

    torch.save({"cond_embed.atom_embed.weight": Nasty()}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="holds no weights"):
        FORMAT.read_state(tmp_path / "a.pth")
    assert capsys.readouterr().out == ""


def test_published_files_are_known_by_their_name(tmp_path):
    (tmp_path / "tarflow_up_to_8aa.pth").touch()
    torch.save({"cond_embed.atom_embed.weight": torch.zeros(1, 2)}, tmp_path / "tarflow_up_to_8aa.pth")
    with pytest.raises(WeightsError, match=r"lacks cond_embed.residue_embed.weight"):
        load_weights(tmp_path / "tarflow_up_to_8aa.pth")
    with pytest.raises(WeightsError, match=r"no weights 'nothing'; known: .*prose-up-to-8aa"):
        load_weights("nothing")


def test_hub_out_of_reach_says_what_to_do(tmp_path, monkeypatch):
    def unreachable(*args, **kwargs):
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.get_session", unreachable)
    with pytest.raises(
        WeightsError, match=r'give the path of your copy instead: .*\("prose_up_to_8aa.pth"\)'
    ):
        load_weights("prose-up-to-8aa", cache=tmp_path)


def test_hub_copy_is_recorded(tmp_path, monkeypatch, network, size):
    path = tmp_path / "snapshots" / "abc123" / "transferable" / "prose_up_to_8aa.pth"
    path.parent.mkdir(parents=True)
    torch.save(published(network), path)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda **where: str(path))
    loaded = load_weights("prose-up-to-8aa", size=size)
    assert loaded.source["commit"] == "abc123"
    assert loaded.source["sha256"] == file_sha256(path)
    assert loaded.source["repository"] == HUB_REPOSITORY
