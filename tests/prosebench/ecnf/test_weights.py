from pathlib import Path

import pytest
import torch

from prosebench.ecnf.config import load_size
from prosebench.ecnf.network import VelocityField
from prosebench.ecnf.weights import from_published, load_weights, published_name, save_weights, to_published
from prosebench.flows.weights.files import WeightsError
from prosebench.store.storage import file_sha256
from tests.contract.make_breathing_field import breathing_field

from .conftest import tiny_field

SIZE = "channels = 8\nlayers = 3\n"


@pytest.fixture
def field() -> VelocityField:
    return tiny_field(dtype=torch.float32)


@pytest.fixture
def size(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(SIZE)
    return path


def published(field: VelocityField) -> dict[str, torch.Tensor]:
    """The content of a published file: with maps that no velocity depends on."""
    more = {
        "egnn.embedding_out.weight": torch.zeros(82, 8),
        "egnn.gcl_2.node_mlp.0.weight": torch.zeros(8, 16),
    }
    return {name: value.clone() for name, value in to_published(field).items()} | more


def assert_same(ours: VelocityField, theirs: VelocityField) -> None:
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())


def test_every_published_name_is_there_once() -> None:
    with torch.device("meta"):
        names = [published_name(name) for name in VelocityField(load_size("ecnf++_up_to_4aa")).state_dict()]
    assert len(set(names)) == len(names)
    assert {"egnn.embedding.weight", "egnn.gcl_8.coord_mlp.2.weight", "egnn.gcl_0.att_mlp.0.bias"} <= set(
        names
    )
    assert not any("*" in name or "gcl_8.node" in name for name in names)


@pytest.mark.parametrize(
    "nest",
    [
        lambda state: state,
        lambda state: {"state_dict": {f"net._orig_mod.{name}": value for name, value in state.items()}},
        lambda state: {
            "state_dict": {f"net.{name}": torch.zeros_like(value) for name, value in state.items()}
            | {f"ema.net.{name}": value for name, value in state.items()}
        },
    ],
)
def test_torch_files_round_trip(tmp_path: Path, field: VelocityField, size: Path, nest) -> None:
    path = tmp_path / "mine.pth"
    torch.save(nest(published(field)), path)
    loaded = load_weights(path, size=size)
    assert_same(loaded.network, field)
    assert loaded.source | {"file": path.name, "sha256": file_sha256(path)} == loaded.source


def test_own_files_round_trip(tmp_path: Path, field: VelocityField) -> None:
    digest = save_weights(tmp_path / "full.npz", field, {"residues": "AG"})
    loaded = load_weights(tmp_path / "full.npz")
    assert_same(loaded.network, field)
    assert loaded.network.config == field.config
    assert loaded.source == {"file": "full.npz", "sha256": digest, "notes": {"residues": "AG"}}
    save_weights(tmp_path / "half.npz", field, {}, half=True)
    with pytest.raises(WeightsError, match=r"full\.npz knows its own size; leave size 'tbg-mini' out"):
        load_weights(tmp_path / "full.npz", size="tbg-mini")
    half = load_weights(tmp_path / "half.npz").network.state_dict()
    assert all(torch.allclose(half[n], v, rtol=1e-3, atol=1e-4) for n, v in field.state_dict().items())


def test_a_wrong_file_is_refused_with_the_first_differences(tmp_path: Path, field: VelocityField) -> None:
    state = published(field)
    state["egnn.embedding.weight"] = torch.zeros(8, 80)
    del state["egnn.gcl_1.att_mlp.0.bias"]
    state["egnn.gcl_3.att_mlp.0.bias"] = torch.zeros(1)
    with pytest.raises(
        WeightsError,
        match=r"lacks egnn.gcl_1.att_mlp.0.bias \(1,\); has an unknown egnn.gcl_3.att_mlp.0.bias \(1,\); "
        r"egnn.embedding.weight is \(8, 80\) and should be \(8, 82\)",
    ):
        from_published(state, field.config)
    torch.save(published(field), tmp_path / "ecnf++_up_to_4aa.pth")
    with pytest.raises(WeightsError, match=r"does not fit this size: lacks egnn.gcl_2.node_mlp.*more"):
        load_weights(tmp_path / "ecnf++_up_to_4aa.pth")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"holds no weights of an ECNF\+\+"):
        load_weights(tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"no weights 'nothing'; known: breathing.*tbg-up-to-4aa"):
        load_weights("nothing")


def test_code_in_a_pickle_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Nasty:
        def __reduce__(self):
            return print, ("run",)

    torch.save({"egnn.gcl_0.coord_mlp.2.weight": Nasty()}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="holds no weights"):
        load_weights(tmp_path / "a.pth")
    assert capsys.readouterr().out == ""


def test_the_bundled_field_is_that_of_its_script() -> None:
    assert_same(load_weights("breathing").network, breathing_field())
