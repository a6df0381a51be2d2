import pytest
import torch

from prosebench.flows.molecule.tokens import Tokens
from prosebench.prose.inverse import Inverter, batch_that_fits, free_bytes, inverse, inverse_reference

from .conftest import tiny_config, tiny_network, topology_of


def latent(network, sequence, frames=6):
    tokens = Tokens.of([topology_of(sequence)], network.config.block_orders)
    dtype = next(network.parameters()).dtype
    z = torch.randn(frames, tokens.mask.shape[1], 3, dtype=dtype, generator=torch.Generator().manual_seed(1))
    if network.config.coordinates == "local":
        z[..., 1] = z[..., 1].abs() + 2  # distances from an axis are above 0
    return z, tokens


def test_inverse_of_forward(variant):
    network = tiny_network(**variant)
    z, tokens = latent(network, "PS")
    x, log_det_inverse = inverse(network, z, tokens)
    again, log_det = network(x, tokens)
    assert (x - z).abs().max() > 0.1
    torch.testing.assert_close(again, z, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(log_det, -log_det_inverse, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-5)])
def test_fast_and_straightforward_agree(variant, dtype, tolerance):
    network = tiny_network(dtype=dtype, blocks=3, **variant)
    z, tokens = latent(network, "GG")
    with torch.no_grad():
        expected = inverse_reference(network, z, tokens)
    for ours, theirs in zip(inverse(network, z, tokens), expected, strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def test_batches_change_nothing():
    network = tiny_network()
    z, tokens = latent(network, "GG", frames=7)
    prepared = Inverter(network).of(tokens)
    whole = prepared(z, batch=7)
    for ours, theirs in zip(prepared(z, batch=3), whole, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("frames", [1, 6])
def test_latent_is_left_alone(frames):
    network = tiny_network()
    z, tokens = latent(network, "GG", frames)
    kept = z.clone()
    inverse(network, z, tokens)
    assert torch.equal(z, kept)


def test_no_frames():
    network = tiny_network()
    z, tokens = latent(network, "GG", frames=0)
    x, log_det = inverse(network, z, tokens)
    assert x.shape == (0, 17, 3)
    assert log_det.shape == (0,)


@pytest.mark.parametrize("batch", [0, -3])
def test_batches_of_no_frames_are_refused(batch):
    network = tiny_network()
    z, tokens = latent(network, "GG")
    with pytest.raises(ValueError, match=f"the batch is {batch} frames; give at least one"):
        Inverter(network).of(tokens)(z, batch)


def test_several_peptides_and_padding_are_refused():
    network = tiny_network()
    for topologies, length in ([topology_of("GG")] * 2, None), ([topology_of("GG")], 20):
        with pytest.raises(ValueError, match="one peptide at a time"):
            Inverter(network).of(Tokens.of(topologies, network.config.block_orders, length))


@pytest.mark.parametrize(("free", "batch"), [(10**12, 512), (10**6, range(10, 200)), (0, 1)])
def test_batch_follows_the_memory(monkeypatch, free, batch):
    monkeypatch.setattr("prosebench.prose.inverse.free_bytes", lambda: free)
    found = batch_that_fits(tiny_config(), torch.empty(10_000, 20, 3))
    assert found == batch if isinstance(batch, int) else found in batch
    assert batch_that_fits(tiny_config(), torch.empty(5, 20, 3)) <= 5


def test_free_memory_is_plausible():
    assert 2**20 < free_bytes() < 2**50
