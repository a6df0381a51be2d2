"""What rounding of factors and of keys and values does to weights: emulated here as tensor cores round, on a network as
deep as the published one."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from prosebench.peptide import Peptide
from prosebench.prose.flow import Prose
from prosebench.prose.prepared_layers import PackedLinear, Precision
from tests.prosebench.prose.conftest import tiny_network

FRAMES = 24
GG = Peptide.from_sequence("GG")


def rounded(values: torch.Tensor) -> torch.Tensor:
    """To 10 bits of mantissa, to nearest: TF32."""
    bits = values.view(torch.int32)
    return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)


def deep_flow(precision: Precision) -> Prose:
    network = tiny_network(dtype=torch.float32, channels=32, blocks=8, layers_per_block=8)
    return Prose(network, precision=precision)


def difference(prose: Prose) -> np.ndarray:
    """Log-densities as drawn less those of the same frames in float32."""
    found = prose.propose(GG, FRAMES, np.random.default_rng(0), mirror=False)
    exact = Prose(prose.network).log_prob(GG, found.frames_nm + found.centres_nm[:, None])
    return found.log_q_full - exact


def test_tf32_inside_the_layers_moves_weights_by_hundredths(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = difference(deep_flow("float32"))

    def product(self: PackedLinear, h: torch.Tensor) -> torch.Tensor:
        return F.linear(rounded(h.contiguous()), rounded(self.weight.contiguous()), self.bias)

    monkeypatch.setattr(PackedLinear, "__call__", product)
    coarse = difference(deep_flow("tf32"))
    print(f"spread of log q: float32 {plain.std():.1e}, TF32 {coarse.std():.1e} nats")
    assert plain.std() < 2e-3
    assert plain.std() < coarse.std() < 0.05


def test_keys_and_values_in_bfloat16_are_weighted_in_float32() -> None:
    prose = deep_flow("bfloat16")
    assert np.abs(difference(prose)).max() < 5e-3
    frames = prose.propose(GG, FRAMES, np.random.default_rng(0), mirror=False).frames_nm
    exact = deep_flow("float32").propose(GG, FRAMES, np.random.default_rng(0), mirror=False).frames_nm
    assert 0.0 < np.abs(frames - exact).max() < 0.05
