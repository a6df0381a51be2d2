"""The kernels' random numbers once more, in numpy: Philox4x32-10 (Salmon et al., SC'11) and Box-Muller."""

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]


def standard_normals(
    random_key: int, step: int, shape: tuple[int, ...], first_replica: int = 0
) -> NDArray[np.float64]:
    """Normal numbers (replicas, atoms, 3) of one step.

    Key: the 64 bits of random_key. Counter: (block, replica, low and high word of step); block b of a replica gives its
    flat components 4b..4b+3. So a number depends on key, replica, step and component alone.
    """
    n_replicas, n_components = shape[0], int(np.prod(shape[1:]))
    block, replica = np.meshgrid(np.arange(-(-n_components // 4)), first_replica + np.arange(n_replicas))
    low, high = step & 0xFFFFFFFF, step >> 32 & 0xFFFFFFFF
    counter = (block, replica, np.full_like(block, low), np.full_like(block, high))
    words = philox([word.astype(np.uint64) for word in counter], random_key % 2**64)
    uniform = (np.stack(words, axis=-1) >> np.uint64(8)) * 2.0**-24 + 2.0**-25
    radius = np.sqrt(-2.0 * np.log(uniform[..., 0::2]))
    angle = 2.0 * np.pi * uniform[..., 1::2]
    pairs = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=-1)
    return pairs.reshape(n_replicas, -1)[:, :n_components].reshape(shape)


def philox(counter: list[Words], key: int) -> list[Words]:
    """Four 32-bit words from a counter of four; words are held in 64 bits."""
    mask, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    key_low, key_high = key & 0xFFFFFFFF, key >> 32
    c0, c1, c2, c3 = counter
    for _ in range(10):
        product_0, product_1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1 = product_1 >> shift ^ c1 ^ np.uint64(key_low), product_1 & mask
        c2, c3 = product_0 >> shift ^ c3 ^ np.uint64(key_high), product_0 & mask
        key_low, key_high = (key_low + 0x9E3779B9) & 0xFFFFFFFF, (key_high + 0xBB67AE85) & 0xFFFFFFFF
    return [c0, c1, c2, c3]
