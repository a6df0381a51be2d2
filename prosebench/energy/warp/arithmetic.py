"""Functions that a GPU has in one instruction, and those that are sums of products; all in single precision.

The estimates of a GPU are good to 2e-7; series are the native kernel's (energy/native/vector.h).
"""

import warp as wp

PI = wp.constant(3.14159265358979323846)


@wp.func_native("""
#if defined(__CUDA_ARCH__)
    return rsqrtf(x);
#else
    return 1.0f / wp::sqrt(x);
#endif
""")
def inverse_root(x: float) -> float:
    """1/sqrt(x)."""
    ...


@wp.func_native("""
#if defined(__CUDA_ARCH__)
    return __fdividef(1.0f, x);
#else
    return 1.0f / x;
#endif
""")
def inverse(x: float) -> float:
    """1/x for |x| < 2^126."""
    ...


@wp.func_native("""
#if defined(__CUDA_ARCH__)
    return exp2f(x);
#else
    return wp::exp(0.693147180559945309417f * x);
#endif
""")
def exp2(x: float) -> float:
    """2^x."""
    ...


@wp.func
def circle(u: float) -> wp.vec2:
    """cos and sin of 2 pi u for u in (0, 1], by Taylor series of the half angle t = pi (u - 1/2)."""
    t = (u - 0.5) * PI
    w = t * t
    c = 1.0 + w * (-0.5 + w * (4.1666668e-2 + w * (-1.3888889e-3 + w * (2.4801587e-5 + w * -2.755732e-7))))
    c += w * w * w * w * w * w * 2.0876757e-9
    s = 1.0 + w * (
        -1.6666667e-1 + w * (8.333334e-3 + w * (-1.984127e-4 + w * (2.7557319e-6 + w * -2.5052108e-8)))
    )
    s *= t
    return wp.vec2(2.0 * s * s - 1.0, -2.0 * s * c)
