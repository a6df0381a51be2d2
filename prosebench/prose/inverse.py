"""From latent z to coordinates x, token by token."""
import torch
from torch import Tensor

from prosebench.prose.layers import Past
from prosebench.prose.network import Block, Network
from prosebench.prose.tokens import Tokens, take


def inverse_reference(network: Network, z: Tensor, tokens: Tokens) -> tuple[Tensor, Tensor]:
    """x (frames, atoms, 3) and log |det dx/dz| (frames,) of z: the straightforward way, as a test oracle.

    The layers of the network on one token at a time, conditions computed for every frame, keys and values of the
    past grown by concatenation. Without padding.
    """
    x, log_det = z, torch.zeros(len(z), dtype=z.dtype, device=z.device)
    embedded = network.embedding(tokens).expand(len(z), -1, -1)
    for block, order in zip(reversed(network.blocks), tokens.orders.flip(0), strict=True):
        moved, change = _undo_block(block, take(x, order), take(embedded, order))
        x, log_det = take(moved, order.argsort(dim=-1)), log_det + change
    return x, log_det


def _undo_block(block: Block, z: Tensor, embedded: Tensor) -> tuple[Tensor, Tensor]:
    """Arguments in the order of the block, embedded for every frame."""
    past = [Past() for _ in block.layers]
    x, log_det = [z[:, :1]], torch.zeros(len(z), dtype=z.dtype, device=z.device)
    for k in range(z.shape[1] - 1):
        log_scale, shift = block.affine(x[-1], block.conditions(embedded[:, k : k + 2], first=k), past)
        x.append(z[:, k + 1 : k + 2] * log_scale.exp() + shift)
        log_det = log_det + log_scale.sum(dim=(1, 2))
    return torch.cat(x, dim=1), log_det

inverse = inverse_reference
