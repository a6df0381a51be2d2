import pytest
import torch

from prosebench.flows.molecule.tokens import Tokens
from prosebench.prose.network import Network

from .conftest import tiny_config, tiny_network, topology_of


def tokens_of(network, *sequences, padded_length=None):
    return Tokens.of([topology_of(s) for s in sequences], network.config.block_orders, padded_length)


def test_a_new_network_is_the_identity():
    network = Network(tiny_config())
    x = torch.randn(2, 17, 3)
    z, log_det = network(x, tokens_of(network, "GG"))
    torch.testing.assert_close(z, x)
    assert log_det.tolist() == [0.0, 0.0]


def test_log_determinant_is_that_of_the_jacobian(variant):
    network = tiny_network(**variant)
    tokens, n = tokens_of(network, "GG"), topology_of("GG").n_atoms
    x = torch.randn(1, n, 3, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(
        lambda flat: network(flat.view(1, n, 3), tokens)[0].flatten(), x.flatten()
    )
    expected = torch.linalg.slogdet(jacobian).logabsdet
    assert expected.abs() > 0.1
    torch.testing.assert_close(network(x, tokens)[1][0], expected, rtol=1e-10, atol=1e-10)


def test_a_token_depends_on_earlier_ones_alone(variant):
    network = tiny_network(
        blocks=1, orders=("n2c_backbone-first_variant_flip",), **variant | {"coordinates": "cartesian"}
    )
    tokens, n = tokens_of(network, "AS"), topology_of("AS").n_atoms
    order = tokens.orders[0, 0]
    x = torch.randn(1, n, 3, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: network(x, tokens)[0], x)[0, :, :, 0]
    strength = jacobian.abs().amax(dim=(1, 3))[order][:, order]
    assert strength.triu(1).max() == 0
    assert strength.tril().min(dim=1).values[1:].min() >= 0
    assert (strength.tril(-1).sum(dim=1)[1:] > 0).all()


def test_padding_changes_nothing(variant):
    network = tiny_network(**variant)
    sequences = ("GG", "AS", "GGG")
    tokens = tokens_of(network, *sequences, padded_length=40)
    x = torch.randn(3, 40, 3, dtype=torch.float64) * tokens.mask[..., None]
    z, log_det = network(x, tokens)
    assert z[~tokens.mask].abs().max() == 0
    for i, sequence in enumerate(sequences):
        n = topology_of(sequence).n_atoms
        alone, log_det_alone = network(x[i : i + 1, :n], tokens_of(network, sequence))
        torch.testing.assert_close(z[i : i + 1, :n], alone, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(log_det[i : i + 1], log_det_alone, rtol=1e-12, atol=1e-12)


def test_one_peptide_for_all_frames_is_one_for_each(variant):
    network = tiny_network(**variant)
    x = torch.randn(4, topology_of("AS").n_atoms, 3, dtype=torch.float64)
    one, each = tokens_of(network, "AS"), tokens_of(network, *["AS"] * 4)
    for ours, theirs in zip(network(x, one), network(x, each), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_frames_do_not_see_each_other():
    network = tiny_network()
    tokens = tokens_of(network, "GG")
    x = torch.randn(5, 17, 3, dtype=torch.float64)
    torch.testing.assert_close(network(x, tokens)[0][2:3], network(x[2:3], tokens)[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("amp", [False, True])
def test_every_weight_gets_a_gradient(amp):
    network = tiny_network(dtype=torch.float32)
    x = torch.randn(8, 17, 3)
    with torch.autocast("cpu", torch.bfloat16, enabled=amp):
        z, log_det = network(x, tokens_of(network, "GG"))
    assert z.dtype == log_det.dtype == torch.float32
    (0.5 * z.square().sum(dim=(1, 2)) - log_det).mean().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    # A bias on every key adds the same to all scores of a query, which softmax does not see.
    assert [name for name in without if not name.endswith("key_norm.bias")] == []


def test_kept_tokens_can_be_joined():
    network = tiny_network()
    parts = [tokens_of(network, sequence) for sequence in ("GGG", "AS")]
    joined, at_once = Tokens.join(parts, 40), tokens_of(network, "GGG", "AS", padded_length=40)
    assert all(torch.equal(getattr(joined, name), value) for name, value in vars(at_once).items())
