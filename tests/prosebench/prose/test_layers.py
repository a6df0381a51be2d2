import math

import pytest
import torch

from prosebench.flows.sinusoid import sinusoid
from prosebench.prose.layers import AdaptiveLayer, Attention, Past, PlainLayer, SwiGLU

from .conftest import tiny_config


def test_sinusoid_by_hand():
    values = sinusoid(torch.tensor([3]), 4, 100.0, torch.float64)[0]
    expected = [math.sin(3), math.cos(3), math.sin(0.3), math.cos(0.3)]
    assert values.tolist() == pytest.approx(expected, rel=1e-12)


def test_swiglu_by_hand():
    swiglu = SwiGLU(tiny_config(channels=2, head_dim=2, expansion=1)).double()
    h = torch.randn(5, 2, dtype=torch.float64)
    value, gate = (h @ swiglu.up.weight.T).split(2, dim=-1)
    torch.testing.assert_close(swiglu(h), (value * gate / (1 + torch.exp(-gate))) @ swiglu.down.weight.T)


def test_attention_with_a_past_is_attention_at_once():
    torch.manual_seed(0)
    attention, h, past = Attention(tiny_config()).double(), torch.randn(3, 7, 16, dtype=torch.float64), Past()
    stepwise = torch.cat([attention(h[:, k : k + 1], past) for k in range(7)], dim=1)
    torch.testing.assert_close(stepwise, attention(h))


@pytest.mark.parametrize("transition", [True, False])
def test_closed_output_scales_leave_tokens_alone(transition):
    layer = AdaptiveLayer(tiny_config(transition=transition))
    for adaption in filter(None, (layer.core_adaption, layer.transition_adaption)):
        torch.nn.init.constant_(adaption.output_scale.bias, -100.0)
    h = torch.randn(2, 5, 16)
    torch.testing.assert_close(layer(h, layer.conditions(torch.randn(1, 5, 16))), h)


def test_conditions_of_one_peptide_broadcast():
    layer = AdaptiveLayer(tiny_config()).double()
    h, condition = torch.randn(4, 5, 16, dtype=torch.float64), torch.randn(1, 5, 16, dtype=torch.float64)
    each = layer(h, layer.conditions(condition.expand(4, -1, -1)))
    torch.testing.assert_close(layer(h, layer.conditions(condition)), each)


def test_bfloat16_autocast_keeps_the_stream_in_float32():
    layer = PlainLayer(tiny_config())
    h = torch.randn(2, 5, 16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(h)
    assert out.dtype == torch.float32
    out.square().sum().backward()
    assert h.grad is not None
    torch.testing.assert_close(out, layer(h), atol=0.05, rtol=0.05)
