/* What the C references share: elementary functions that vectorise, and Philox.
 *
 * `real` is double; with -DSINGLE -fsingle-precision-constant it is float.  In double the
 * polynomials and the random numbers are neurosim's (kernels/elementary.py, kernels/rng.py), in
 * float the polynomials are shorter and a random number takes one word of 32 bits.
 */

#ifndef NUMERICS_H
#define NUMERICS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef SINGLE
typedef float real;
typedef int32_t word; /* the bits of a real */
enum { MANTISSA = 23, BIAS = 127 };
static const word ROOT_HALF = 0x3F3504F3;
static const real LN2_HIGH = 0.693145751953125, LN2_LOW = 1.428606765330187e-06;
static const real LEAST_EXPONENT = -80.0, LARGEST_EXPONENT = 88.0;
#else
typedef double real;
typedef int64_t word;
enum { MANTISSA = 52, BIAS = 1023 };
static const word ROOT_HALF = 0x3FE6A09E667F3BCD;
static const real LN2_HIGH = 0.6931467056274414, LN2_LOW = 4.7493250390316726e-07;
static const real LEAST_EXPONENT = -230.0, LARGEST_EXPONENT = 709.0;
#endif

static inline real as_real(word bits)
{
    real x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline word as_bits(real x)
{
    word bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

#ifdef SINGLE
static inline real root(real x) { return sqrtf(x); }
static inline real down(real x) { return floorf(x); }
static inline real absolute(real x) { return fabsf(x); }
#else
static inline real root(real x) { return sqrt(x); }
static inline real down(real x) { return floor(x); }
static inline real absolute(real x) { return fabs(x); }
#endif

static inline real exp_of(real x)
{
    x = x < LEAST_EXPONENT ? LEAST_EXPONENT : x;
    x = x > LARGEST_EXPONENT ? LARGEST_EXPONENT : x;
    real k = down(x * 1.4426950408889634 + 0.5);
    real r = (x - k * LN2_HIGH) - k * LN2_LOW;
#ifdef SINGLE
    real q = 0.041890550404787064 + r * 0.008312477730214596;
    q = 0.16667115688323975 + r * q;
    q = 0.4999922811985016 + r * q;
#else
    real q = 2.763263963904103e-07 + r * 2.5110037605963777e-08;
    q = 2.755724091857897e-06 + r * q;
    q = 2.4801485482328494e-05 + r * q;
    q = 0.00019841269890047113 + r * q;
    q = 0.0013888888952314775 + r * q;
    q = 0.008333333333319601 + r * q;
    q = 0.0416666666664881 + r * q;
    q = 0.1666666666666668 + r * q;
    q = 0.5000000000000019 + r * q;
#endif
    q = 1.0 + r * (1.0 + r * q);
    return q * as_real(((word)k + BIAS) << MANTISSA);
}

/* (log(1 + t) - 2 s) / (2 s), s = t / (2 + t), u = s * s, for t in [0, 1] */
static inline real log1p_series(real u)
{
#ifdef SINGLE
    real q = 0.13999570906162262 + u * 0.14012229442596436;
    q = 0.20010849833488464 + u * q;
    q = 0.3333320617675781 + u * q;
#else
    real q = 0.04940394524382393 + u * 0.08890381913056651;
    q = 0.06795652742789947 + u * q;
    q = 0.07681838124445817 + u * q;
    q = 0.09091429900236955 + u * q;
    q = 0.11111095430673142 + u * q;
    q = 0.1428571455582858 + u * q;
    q = 0.199999999976438 + u * q;
    q = 0.33333333333341286 + u * q;
#endif
    return u * q;
}

static inline real log1p_of(real t)
{
    real s = t / (2.0 + t);
    return 2.0 * s + (2.0 * s) * log1p_series(s * s);
}

static inline real log_of(real x)
{
    word bits = as_bits(x);
    word k = (bits - ROOT_HALF) >> MANTISSA;
    real m = as_real(bits - (k << MANTISSA));
    real s = (m - 1.0) / (m + 1.0), u = s * s;
#ifdef SINGLE
    real q = 0.3997754156589508 + u * 0.29871729016304016;
    q = 0.6666677594184875 + u * q;
#else
    real q = 0.1531252814836419 + u * 0.14809710360655276;
    q = 0.18183631680229329 + u * q;
    q = 0.22222197056726048 + u * q;
    q = 0.2857142876064168 + u * q;
    q = 0.3999999999930234 + u * q;
    q = 0.6666666666666765 + u * q;
#endif
    return (real)k * LN2_HIGH + (2.0 * s + (s * (u * q) + (real)k * LN2_LOW));
}

static inline real cos_2pi(real x)
{
    real w = 0.25 - absolute(x - 0.5), u = w * w;
#ifdef SINGLE
    real q = -76.5813980102539 + u * 39.76161575317383;
    q = 81.60248565673828 + u * q;
#else
    real q = -0.7177337921413454 + u * 0.10089695501646812;
    q = 3.8199280942271643 + u * q;
    q = -15.0946416761179 + u * q;
    q = 42.058693925428685 + u * q;
    q = -76.70585975282492 + u * q;
    q = 81.60524927607362 + u * q;
#endif
    q = -41.341702240399755 + u * q;
    q = 6.283185307179586 + u * q;
    return -(w * q);
}

static inline real power(real beta, int64_t n)
{
    real result = 1.0;
    for (; n > 0; n >>= 1, beta *= beta)
        if (n & 1)
            result *= beta;
    return result;
}

/* ---- random numbers: Philox 4x32-10 ---------------------------------------------------------- */

typedef struct {
    uint64_t a, b, c, d; /* words of 32 bits, held in 64: so the loops over draws vectorise best */
} Words;

static inline Words philox(const int64_t *key, uint64_t event, uint64_t unit, uint64_t where)
{
    const uint64_t mask = 0xFFFFFFFF;
    uint64_t k0 = key[0], k1 = key[1];
    Words x = {event & mask, event >> 32, unit, where};
#pragma GCC unroll 10
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = 0xD2511F53 * x.a, p1 = 0xCD9E8D57 * x.c;
        x = (Words){(p1 >> 32) ^ x.b ^ k0, p1 & mask, (p0 >> 32) ^ x.d ^ k1, p0 & mask};
        k0 = (k0 + 0x9E3779B9) & mask;
        k1 = (k1 + 0xBB67AE85) & mask;
    }
    return x;
}

static inline real unit_interval(uint64_t high, uint64_t low)
{
#ifdef SINGLE
    (void)low;
    return ((real)(int32_t)(high >> 1) + 0.5) * 0x1p-31;
#else
    return ((real)(int64_t)(high << 20 | low >> 12) + 0.5) * 0x1p-52;
#endif
}

static inline real uniform(const int64_t *key, uint64_t event, uint64_t unit, uint64_t where)
{
    Words x = philox(key, event, unit, where);
    return unit_interval(x.a, x.b);
}

static inline real normal(const int64_t *key, uint64_t event, uint64_t unit, uint64_t where)
{
    Words x = philox(key, event, unit, where);
    return root(-2.0 * log_of(unit_interval(x.a, x.b))) * cos_2pi(unit_interval(x.c, x.d));
}

#endif
