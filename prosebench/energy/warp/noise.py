"""Standard normal numbers from a counter: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, SC'11) and Box-Muller.

The numbers of the native kernel (energy/native/random.h): key = (low, high) word of the random key; counter = (block,
replica, low, high word of the step). Block b gives the numbers of the flat components 4b..4b+3 of a replica.
"""

import warp as wp

from prosebench.energy.warp.arithmetic import circle

MULTIPLIER_0 = wp.constant(wp.uint64(0xD2511F53))
MULTIPLIER_1 = wp.constant(wp.uint64(0xCD9E8D57))
WEYL_0 = wp.constant(wp.uint32(0x9E3779B9))
WEYL_1 = wp.constant(wp.uint32(0xBB67AE85))
HALF = wp.constant(wp.uint64(32))


@wp.func
def philox(counter: wp.vec4ui, key: wp.vec2ui) -> wp.vec4ui:
    """Four random words of a counter."""
    for _ in range(10):
        product_0 = MULTIPLIER_0 * wp.uint64(counter[0])
        product_1 = MULTIPLIER_1 * wp.uint64(counter[2])
        counter = wp.vec4ui(
            wp.uint32(product_1 >> HALF) ^ counter[1] ^ key[0],
            wp.uint32(product_1),
            wp.uint32(product_0 >> HALF) ^ counter[3] ^ key[1],
            wp.uint32(product_0),
        )
        key = wp.vec2ui(key[0] + WEYL_0, key[1] + WEYL_1)
    return counter


@wp.func
def uniform(word: wp.uint32) -> float:
    """(word >> 8) 2^-24 + 2^-25, in (0, 1]."""
    return float(word >> wp.uint32(8)) * 5.9604644775390625e-8 + 2.98023223876953125e-8


@wp.func
def normals(block: int, replica: wp.uint32, step: wp.uint64, key: wp.vec2ui) -> wp.vec4:
    """The four normal numbers of a block."""
    counter = wp.vec4ui(wp.uint32(block), replica, wp.uint32(step), wp.uint32(step >> HALF))
    words = philox(counter, key)
    radius_0 = wp.sqrt(-2.0 * wp.log(uniform(words[0])))
    radius_1 = wp.sqrt(-2.0 * wp.log(uniform(words[2])))
    point_0 = circle(uniform(words[1]))
    point_1 = circle(uniform(words[3]))
    return wp.vec4(radius_0 * point_0[0], radius_0 * point_0[1], radius_1 * point_1[0], radius_1 * point_1[1])
