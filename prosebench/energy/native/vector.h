// Vectors of frames: arithmetic on all lanes at once, and the few functions the energy needs.
//
// `Vec<float>` fills one register of the instruction set this file is compiled for: 16 lanes with AVX-512, 8 with
// AVX2, 4 otherwise; `Vec<double>` has half as many. Operators come from the compiler's vector extensions; what
// they lack (fused multiply-add, square root, masks) follows once per instruction set.
// Compile with -ffp-contract=off: every fused operation is written out, so a lane gives the same bits whatever its
// neighbours do, whichever template it runs through, and on every instruction set: all that is used here is exact or
// rounded once, as IEEE 754 has it. Estimates of reciprocals, which differ from one CPU to another, are not used.
// Everything is in an anonymous namespace: no instruction set may lend its code to another.

#pragma once

#include <stdint.h>

#if defined(__AVX2__) || defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#define INLINE inline __attribute__((always_inline))

namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

typedef float FloatRegister __attribute__((vector_size(kVectorBytes)));
typedef double DoubleRegister __attribute__((vector_size(kVectorBytes)));
typedef int32_t Int32Register __attribute__((vector_size(kVectorBytes)));
typedef uint32_t Word32Register __attribute__((vector_size(kVectorBytes)));
typedef int64_t Int64Register __attribute__((vector_size(kVectorBytes)));
typedef uint64_t Word64Register __attribute__((vector_size(kVectorBytes)));

template <class Real> struct Registers;
template <> struct Registers<float> { typedef FloatRegister Value; typedef Int32Register Bits; };
template <> struct Registers<double> { typedef DoubleRegister Value; typedef Int64Register Bits; };

template <class Real>
struct Vec {
    typedef typename Registers<Real>::Value Register;
    static constexpr int lanes = kVectorBytes / sizeof(Real);
    Register v;

    Vec() = default;
    INLINE Vec(Register value) : v(value) {}
    INLINE Vec(double value) : v(static_cast<Real>(value) - Register{}) {}
    INLINE Vec(float value) : v(static_cast<Real>(value) - Register{}) {}
    INLINE Vec(int value) : v(static_cast<Real>(value) - Register{}) {}
    INLINE friend Vec operator+(Vec a, Vec b) { return a.v + b.v; }
    INLINE friend Vec operator-(Vec a, Vec b) { return a.v - b.v; }
    INLINE friend Vec operator*(Vec a, Vec b) { return a.v * b.v; }
    INLINE friend Vec operator/(Vec a, Vec b) { return a.v / b.v; }
    INLINE friend Vec operator-(Vec a) { return -a.v; }
    INLINE Vec& operator+=(Vec b) { v += b.v; return *this; }
};

// Sums of vectors in double, whatever the vectors' own precision.
typedef float HalfFloatRegister __attribute__((vector_size(kVectorBytes / 2)));
template <class Real> struct DoubleSum {
    static constexpr int kParts = 8 / sizeof(Real);
    DoubleRegister part[kParts];
    INLINE void add(Vec<float> x) {
        HalfFloatRegister half[2];
        __builtin_memcpy(half, &x.v, sizeof half);
        for (int k = 0; k < 2; k++) part[k] += __builtin_convertvector(half[k], DoubleRegister);
    }
    INLINE void add(Vec<double> x) { part[0] += x.v; }
    INLINE double lane(int k) const { return part[k * kParts / Vec<Real>::lanes][k % Vec<double>::lanes]; }
};

// ---- Per instruction set: fma = a b + c and fnma = c - a b with one rounding, sqrt, masks; max and min, which give b
// where a and b are equal or one of them is not a number; scale = x 2^n for a whole n in the range of the exponent ----

#if defined(__AVX512F__)

template <class Real> struct Mask;
template <> struct Mask<float> { __mmask16 m; };
template <> struct Mask<double> { __mmask8 m; };

INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
    return (FloatRegister)_mm512_fmadd_ps(a.v, b.v, c.v);
}
INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
    return (DoubleRegister)_mm512_fmadd_pd(a.v, b.v, c.v);
}
INLINE Vec<float> fnma(Vec<float> a, Vec<float> b, Vec<float> c) {
    return (FloatRegister)_mm512_fnmadd_ps(a.v, b.v, c.v);
}
INLINE Vec<double> fnma(Vec<double> a, Vec<double> b, Vec<double> c) {
    return (DoubleRegister)_mm512_fnmadd_pd(a.v, b.v, c.v);
}
INLINE Vec<float> sqrt(Vec<float> x) { return (FloatRegister)_mm512_sqrt_ps(x.v); }
INLINE Vec<double> sqrt(Vec<double> x) { return (DoubleRegister)_mm512_sqrt_pd(x.v); }
INLINE Vec<float> max(Vec<float> a, Vec<float> b) { return (FloatRegister)_mm512_max_ps(a.v, b.v); }
INLINE Vec<double> max(Vec<double> a, Vec<double> b) { return (DoubleRegister)_mm512_max_pd(a.v, b.v); }
INLINE Vec<float> min(Vec<float> a, Vec<float> b) { return (FloatRegister)_mm512_min_ps(a.v, b.v); }
INLINE Vec<double> min(Vec<double> a, Vec<double> b) { return (DoubleRegister)_mm512_min_pd(a.v, b.v); }
INLINE Vec<float> scale(Vec<float> x, Vec<float> n) { return (FloatRegister)_mm512_scalef_ps(x.v, n.v); }
INLINE Vec<double> scale(Vec<double> x, Vec<double> n) { return (DoubleRegister)_mm512_scalef_pd(x.v, n.v); }

INLINE Mask<float> operator<(Vec<float> a, Vec<float> b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
INLINE Mask<double> operator<(Vec<double> a, Vec<double> b) { return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_LT_OQ)}; }
INLINE Vec<float> select(Mask<float> m, Vec<float> a, Vec<float> b) {
    return (FloatRegister)_mm512_mask_blend_ps(m.m, b.v, a.v);
}
INLINE Vec<double> select(Mask<double> m, Vec<double> a, Vec<double> b) {
    return (DoubleRegister)_mm512_mask_blend_pd(m.m, b.v, a.v);
}
template <class Real> INLINE bool any(Mask<Real> mask) { return mask.m != 0; }

INLINE Word64Register multiply_low_words(Word64Register a, Word64Register b) {
    return (Word64Register)_mm512_mul_epu32((__m512i)a, (__m512i)b);
}
INLINE Word64Register high_words(Word64Register a) {
    return (Word64Register)_mm512_shuffle_epi32((__m512i)a, _MM_PERM_DDBB);
}

#else

template <class Real> struct Mask { typename Registers<Real>::Bits m; };

INLINE Mask<float> operator<(Vec<float> a, Vec<float> b) { return {a.v < b.v}; }
INLINE Mask<double> operator<(Vec<double> a, Vec<double> b) { return {a.v < b.v}; }
template <class Real> INLINE Vec<Real> select(Mask<Real> m, Vec<Real> a, Vec<Real> b) { return m.m ? a.v : b.v; }

// 2^n is put together from its bits.
INLINE Vec<float> scale(Vec<float> x, Vec<float> n) {
    return x.v * (FloatRegister)((__builtin_convertvector(n.v, Int32Register) + 127) << 23);
}
INLINE Vec<double> scale(Vec<double> x, Vec<double> n) {
    return x.v * (DoubleRegister)((__builtin_convertvector(n.v, Int64Register) + 1023) << 52);
}

#if defined(__AVX2__)

INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
    return (FloatRegister)_mm256_fmadd_ps(a.v, b.v, c.v);
}
INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
    return (DoubleRegister)_mm256_fmadd_pd(a.v, b.v, c.v);
}
INLINE Vec<float> fnma(Vec<float> a, Vec<float> b, Vec<float> c) {
    return (FloatRegister)_mm256_fnmadd_ps(a.v, b.v, c.v);
}
INLINE Vec<double> fnma(Vec<double> a, Vec<double> b, Vec<double> c) {
    return (DoubleRegister)_mm256_fnmadd_pd(a.v, b.v, c.v);
}
INLINE Vec<float> sqrt(Vec<float> x) { return (FloatRegister)_mm256_sqrt_ps(x.v); }
INLINE Vec<double> sqrt(Vec<double> x) { return (DoubleRegister)_mm256_sqrt_pd(x.v); }
INLINE Vec<float> max(Vec<float> a, Vec<float> b) { return (FloatRegister)_mm256_max_ps(a.v, b.v); }
INLINE Vec<double> max(Vec<double> a, Vec<double> b) { return (DoubleRegister)_mm256_max_pd(a.v, b.v); }
INLINE Vec<float> min(Vec<float> a, Vec<float> b) { return (FloatRegister)_mm256_min_ps(a.v, b.v); }
INLINE Vec<double> min(Vec<double> a, Vec<double> b) { return (DoubleRegister)_mm256_min_pd(a.v, b.v); }
INLINE bool any(Mask<float> m) { return _mm256_movemask_ps((__m256)m.m) != 0; }
INLINE bool any(Mask<double> m) { return _mm256_movemask_pd((__m256d)m.m) != 0; }

INLINE Word64Register multiply_low_words(Word64Register a, Word64Register b) {
    return (Word64Register)_mm256_mul_epu32((__m256i)a, (__m256i)b);
}
INLINE Word64Register high_words(Word64Register a) { return (Word64Register)_mm256_shuffle_epi32((__m256i)a, 0xF5); }

#else

#if defined(__ARM_NEON) && defined(__aarch64__)
INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
    return (FloatRegister)vfmaq_f32((float32x4_t)c.v, (float32x4_t)a.v, (float32x4_t)b.v);
}
INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
    return (DoubleRegister)vfmaq_f64((float64x2_t)c.v, (float64x2_t)a.v, (float64x2_t)b.v);
}
INLINE Vec<float> fnma(Vec<float> a, Vec<float> b, Vec<float> c) {
    return (FloatRegister)vfmsq_f32((float32x4_t)c.v, (float32x4_t)a.v, (float32x4_t)b.v);
}
INLINE Vec<double> fnma(Vec<double> a, Vec<double> b, Vec<double> c) {
    return (DoubleRegister)vfmsq_f64((float64x2_t)c.v, (float64x2_t)a.v, (float64x2_t)b.v);
}
#else
#if defined(__FP_FAST_FMAF)
INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
    for (int k = 0; k < Vec<float>::lanes; k++) c.v[k] = __builtin_fmaf(a.v[k], b.v[k], c.v[k]);
    return c;
}
#else
// CPUs without the instruction get its bits, some twenty times slower. The product of two floats is exact in double; the
// sum is rounded to odd, which rounding to float afterwards does not spoil (Boldo and Melquiond, IEEE Trans. Comput.
// 2008, 57, 462): where it is not exact and its last bit is 0, it goes one step towards what is missing.
typedef double WideRegister __attribute__((vector_size(2 * kVectorBytes)));
typedef int64_t WideBits __attribute__((vector_size(2 * kVectorBytes)));
INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
    const WideRegister product = __builtin_convertvector(a.v, WideRegister) * __builtin_convertvector(b.v, WideRegister);
    const WideRegister addend = __builtin_convertvector(c.v, WideRegister), sum = product + addend;
    const WideRegister part = sum - product, missing = (product - (sum - part)) + (addend - part);
    const WideBits bits = (WideBits)sum, inexact = (missing < 0.0) | (missing > 0.0), even = (bits & 1) == 0;
    const WideBits away = ((WideBits)missing ^ bits) >= 0;  // -1 where what is missing has the sign of the sum
    return __builtin_convertvector((WideRegister)(bits + ((inexact & even) & (-2 * away - 1))), FloatRegister);
}
#endif
INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
    for (int k = 0; k < Vec<double>::lanes; k++) c.v[k] = __builtin_fma(a.v[k], b.v[k], c.v[k]);
    return c;
}
INLINE Vec<float> fnma(Vec<float> a, Vec<float> b, Vec<float> c) { return fma(-a, b, c); }
INLINE Vec<double> fnma(Vec<double> a, Vec<double> b, Vec<double> c) { return fma(-a, b, c); }
#endif

INLINE Vec<float> max(Vec<float> a, Vec<float> b) { return select(b < a, a, b); }
INLINE Vec<double> max(Vec<double> a, Vec<double> b) { return select(b < a, a, b); }
INLINE Vec<float> min(Vec<float> a, Vec<float> b) { return select(a < b, a, b); }
INLINE Vec<double> min(Vec<double> a, Vec<double> b) { return select(a < b, a, b); }
INLINE Vec<float> sqrt(Vec<float> x) {
    for (int k = 0; k < Vec<float>::lanes; k++) x.v[k] = __builtin_sqrtf(x.v[k]);
    return x;
}
INLINE Vec<double> sqrt(Vec<double> x) {
    for (int k = 0; k < Vec<double>::lanes; k++) x.v[k] = __builtin_sqrt(x.v[k]);
    return x;
}
template <class Real> INLINE bool any(Mask<Real> mask) {
    Int64Register halves = (Int64Register)mask.m;
    return (halves[0] | halves[1]) != 0;
}
INLINE Word64Register multiply_low_words(Word64Register a, Word64Register b) {
    return (a & 0xffffffffu) * (b & 0xffffffffu);
}
INLINE Word64Register high_words(Word64Register a) { return a >> 32; }

#endif
#endif

// ---- Functions built from these, for every instruction set; series are as long as the precision asks for ----

template <class Real> INLINE Vec<Real> rcp(Vec<Real> x) { return Vec<Real>(1.0) / x; }
template <class Real> INLINE Vec<Real> rsqrt(Vec<Real> x) { return Vec<Real>(1.0) / sqrt(x); }

// Nearest whole number for |x| < 2^22 (2^51), by pushing the fraction out of the mantissa.
INLINE Vec<float> round(Vec<float> x) { return (x.v + 12582912.0f) - 12582912.0f; }
INLINE Vec<double> round(Vec<double> x) { return (x.v + 6755399441055744.0) - 6755399441055744.0; }

template <class Real> constexpr int digits(int single_terms, int double_terms) {
    return sizeof(Real) == 4 ? single_terms : double_terms;
}

template <class Real> INLINE Vec<Real> absolute(Vec<Real> x) { return max(x, -x); }

// 2^x for |x| <= 1/2: a Chebyshev fit of relative error 2e-8 for floats, a Taylor series for doubles.
INLINE Vec<float> exp2_series(Vec<float> x) {
    Vec<float> sum = 0.00015461445f;
    sum = fma(sum, x, 0.00134004280f);
    sum = fma(sum, x, 0.00961805694f);
    sum = fma(sum, x, 0.05550327152f);
    sum = fma(sum, x, 0.24022650719f);
    sum = fma(sum, x, 0.69314718246f);
    return fma(sum, x, 1.0f);
}
INLINE Vec<double> exp2_series(Vec<double> x) {
    Vec<double> sum = 1.0;
    for (int k = 14; k > 0; k--) sum = fma(sum * x, 0.693147180559945309417 / k, 1.0);
    return sum;
}
// 2^x for x <= 100; as good as 0 below the smallest normal number, and not a number where x is none.
template <class Real> INLINE Vec<Real> exp2(Vec<Real> x) {
    x = max(Vec<Real>(digits<Real>(-126, -1022)), x);
    const Vec<Real> n = round(x);
    return scale(exp2_series(x - n), n);
}

// Natural logarithm of a positive normal number: x = 2^n m, log m = 2 atanh((m - 1)/(m + 1)), m in [1/sqrt 2, sqrt 2].
INLINE void split(Vec<float> x, Vec<float>& exponent, Vec<float>& mantissa) {
    Int32Register bits = (Int32Register)x.v - 0x3f3504f3, whole = bits >> 23;
    mantissa.v = (FloatRegister)((bits & 0x7fffff) + 0x3f3504f3);
    exponent.v = __builtin_convertvector(whole, FloatRegister);
}
INLINE void split(Vec<double> x, Vec<double>& exponent, Vec<double>& mantissa) {
    Int64Register bits = (Int64Register)x.v - 0x3fe6a09e667f3bcd, whole = bits >> 52;
    mantissa.v = (DoubleRegister)((bits & 0xfffffffffffff) + 0x3fe6a09e667f3bcd);
    exponent.v = __builtin_convertvector(whole, DoubleRegister);
}
template <class Real> INLINE Vec<Real> log(Vec<Real> x) {
    constexpr int kTerms = digits<Real>(5, 12);
    Vec<Real> exponent, mantissa;
    split(x, exponent, mantissa);
    Vec<Real> z = (mantissa - 1.0) * rcp(mantissa + 1.0), w = z * z, sum = 2.0 / (2 * kTerms - 1);
#pragma GCC unroll 16
    for (int k = kTerms - 2; k >= 0; k--) sum = fma(sum, w, Vec<Real>(2.0 / (2 * k + 1)));
    return fma(exponent, Vec<Real>(0.693147180559945309417), sum * z);
}

// atan(t)/t for w = -t^2, |t| <= tan(pi/8): a Chebyshev fit of relative error 1e-8, a Taylor series for doubles.
INLINE Vec<float> atan_series(Vec<float> w) {
    Vec<float> sum = 0.06025935f;
    sum = fma(sum, w, 0.10569685f);
    sum = fma(sum, w, 0.14239514f);
    sum = fma(sum, w, 0.19998182f);
    sum = fma(sum, w, 0.33333308f);
    return fma(sum, w, 1.0f);
}
INLINE Vec<double> atan_series(Vec<double> w) {
    Vec<double> sum = 0.0;
    for (int k = 21; k >= 0; k--) sum = fma(sum, w, 1.0 / (2 * k + 1));
    return sum;
}
// Angle in [0, pi] of the point (x, y), y >= 0; full accuracy near 0 and pi, where acos has none.
template <class Real> INLINE Vec<Real> atan2_positive(Vec<Real> y, Vec<Real> x) {
    constexpr double kPi = 3.14159265358979323846;
    Vec<Real> a = absolute(x), low = min(a, y), high = max(a, y);
    Mask<Real> fold = Vec<Real>(0.4142135623730950488) * high < low;  // tan(pi/8)
    Vec<Real> top = select(fold, low - high, low), bottom = select(fold, low + high, high);
    Vec<Real> t = top * rcp(bottom);
    Vec<Real> angle = fma(atan_series(-(t * t)), t, select(fold, Vec<Real>(kPi / 4), Vec<Real>(0.0)));
    angle = select(a < y, Vec<Real>(kPi / 2) - angle, angle);
    return select(x < Vec<Real>(0.0), Vec<Real>(kPi) - angle, angle);
}

// cos and sin of 2 pi u for u in (0, 1), by Taylor series of the half angle t = pi (u - 1/2).
template <class Real> INLINE void circle(Vec<Real> u, Vec<Real>& cosine, Vec<Real>& sine) {
    constexpr int kTerms = digits<Real>(6, 12);
    Vec<Real> t = (u - 0.5) * 3.14159265358979323846, w = t * t;
    double factor[2 * kTerms + 1] = {1.0};  // 1, then the inverse factorials with alternating signs in pairs
    for (int k = 1; k <= 2 * kTerms; k++) factor[k] = factor[k - 1] / (k % 2 == 0 ? -k : k);
    Vec<Real> s = factor[2 * kTerms - 1], c = factor[2 * kTerms];
#pragma GCC unroll 16
    for (int k = kTerms - 1; k >= 0; k--) {
        c = fma(c, w, Vec<Real>(factor[2 * k]));
        if (k > 0) s = fma(s, w, Vec<Real>(factor[2 * k - 1]));
    }
    s = s * t;
    sine = -2.0 * (s * c);                       // sin 2 pi u = -sin 2t
    cosine = fma(2.0 * s, s, Vec<Real>(-1.0));   // cos 2 pi u = -cos 2t
}

// ---- Three coordinates ----

template <class Real> struct Vec3 { Vec<Real> x, y, z; };

template <class Real> INLINE Vec3<Real> operator-(Vec3<Real> a, Vec3<Real> b) {
    return {a.x - b.x, a.y - b.y, a.z - b.z};
}
template <class Real> INLINE Vec3<Real> operator+(Vec3<Real> a, Vec3<Real> b) {
    return {a.x + b.x, a.y + b.y, a.z + b.z};
}
template <class Real> INLINE Vec3<Real> operator*(Vec<Real> s, Vec3<Real> a) { return {s * a.x, s * a.y, s * a.z}; }
template <class Real> INLINE Vec<Real> dot(Vec3<Real> a, Vec3<Real> b) {
    return fma(a.x, b.x, fma(a.y, b.y, a.z * b.z));
}
template <class Real> INLINE Vec3<Real> cross(Vec3<Real> a, Vec3<Real> b) {
    return {fnma(a.z, b.y, a.y * b.z), fnma(a.x, b.z, a.z * b.x), fnma(a.y, b.x, a.x * b.y)};
}

}  // namespace
