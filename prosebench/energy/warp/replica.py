"""One replica that a block of threads works on: where its state lies, and how the threads take turns.

On a GPU the state is in the shared memory of the multiprocessor and a block is one warp, whose threads (`lane` is the
number of one) step together. On a CPU a block has a single thread and the state is in ordinary memory. The same source
is compiled for both.
"""

from typing import Any

import warp as wp

FLOATS_AN_ATOM = 14
"""The number of floats in a `Replica` for each atom: three vectors of three components, and five numbers."""


@wp.struct
class Replica:
    """State of one replica; component c of atom i of a vector is at [3 i + c].

    integral is the Born integral of an atom, and later dE/dI; born_slope is -1/2 dB/dI; born_gradient is -2 dE/dB.
    """

    position: wp.array[float]
    velocity: wp.array[float]
    gradient: wp.array[float]
    integral: wp.array[float]
    born: wp.array[float]
    inverse_born: wp.array[float]
    born_slope: wp.array[float]
    born_gradient: wp.array[float]


@wp.func_native("""
#if defined(__CUDA_ARCH__)
    __syncwarp();
#else
    WP_TILE_SYNC();
#endif
""")
def barrier() -> None:
    """Wait until all threads of the block are here, and let them see what the others wrote."""
    ...


def shared_floats(n_floats: int) -> Any:
    """A function of Warp's that gives the address of float `first` of the block's shared memory.

    The memory holds n_floats on a GPU; on a CPU the address is that of float `first` of the array at `outside`.
    """

    snippet = f"""
#if defined(__CUDA_ARCH__)
    __shared__ float room[{n_floats}];
    return (uint64_t)(room + first);
#else
    return outside + 4 * (uint64_t)first;
#endif
"""

    @wp.func_native(snippet)
    def address(first: int, outside: wp.uint64) -> wp.uint64: ...

    return address


@wp.func
def vector(components: wp.array[float], i: int) -> wp.vec3:
    """The vector of atom i."""
    return wp.vec3(components[3 * i], components[3 * i + 1], components[3 * i + 2])


@wp.func
def add(components: wp.array[float], i: int, change: wp.vec3) -> None:
    """Add to the vector of atom i."""
    components[3 * i] = components[3 * i] + change[0]
    components[3 * i + 1] = components[3 * i + 1] + change[1]
    components[3 * i + 2] = components[3 * i + 2] + change[2]


@wp.func
def exact_way(replica: Replica, rest: wp.array[float], a: int, b: int) -> wp.vec3:
    """The vector from atom b to atom a, corrected by what rounding took from the positions; rest is empty
    where nothing is known of that. 1e-7 nm of a bond is 0.03 kJ/mol/nm.

    1e-7 nm of a bond is 0.03 kJ/mol/nm.
    """
    way = vector(replica.position, a) - vector(replica.position, b)
    if rest.shape[0] > 0:
        way += vector(rest, a) - vector(rest, b)
    return way
