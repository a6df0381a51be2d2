from pathlib import Path

import pytest

from prosebench.arbg.flow import Arbg
from prosebench.arbg.weights import save_weights
from prosebench.flows.weights.files import WeightsError
from prosebench.pretrained import KINDS, kind_of, load_flow
from prosebench.prose.flow import Prose
from tests.prosebench.arbg.conftest import tiny_network


def test_every_name_has_its_kind() -> None:
    assert kind_of("prose-mini") is Prose
    assert kind_of("wells") is Arbg
    for kind in KINDS:
        assert all(kind_of(name) is kind for name in kind.weight_format.published)


def test_an_own_file_knows_its_kind(tmp_path: Path) -> None:
    network = tiny_network().float()
    try:
        save_weights(tmp_path / "model.npz", network, {})
    finally:
        network.double()
    assert isinstance(load_flow(tmp_path / "model.npz", device="cpu"), Arbg)
    assert kind_of(Prose.weights_file("prose-mini") or "") is Prose


def test_what_is_no_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no weights 'porse-mini'; known: .*prose-mini"):
        load_flow("porse-mini")
    (tmp_path / "x.npz").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="not a model of prosebench"):
        load_flow(tmp_path / "x.npz")
