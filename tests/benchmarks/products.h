/* Products of matrices and vectors, in vectors of 64 bytes, to which all arrays are aligned and
 * padded.  The outer loops run over rows of the matrix or over blocks of its columns, so that sums
 * stay in registers.
 */

#ifndef PRODUCTS_H
#define PRODUCTS_H

#include "numerics.h"

#ifdef __AVX512F__
#include <immintrin.h>
#endif

typedef real Vector __attribute__((vector_size(64), may_alias));
typedef word Lanes __attribute__((vector_size(64)));
enum { WIDTH = sizeof(Vector) / sizeof(real) };

/* sum[k] += sum of x[j] a[j * stride + k] for k < block, which stay in registers */
static inline void add_block(const Vector *a, int64_t stride, const real *x, int64_t n, Vector *sum,
                             const int block)
{
    Vector s[8];
#pragma GCC unroll 8
    for (int k = 0; k < block; k++)
        s[k] = sum[k];
    for (int64_t j = 0; j < n; j++)
#pragma GCC unroll 8
        for (int k = 0; k < block; k++)
            s[k] += a[j * stride + k] * x[j];
#pragma GCC unroll 8
    for (int k = 0; k < block; k++)
        sum[k] = s[k];
}

/* out += sum of x[j] rows[j] */
static inline void add_rows(const real *rows, int64_t row, const real *x, int64_t n, real *out)
{
    const Vector *a = (const Vector *)rows;
    Vector *sum = (Vector *)out;
    int64_t vectors = row / WIDTH, k = 0;
    for (; k + 8 <= vectors; k += 8)
        add_block(a + k, vectors, x, n, sum + k, 8);
    for (; k + 4 <= vectors; k += 4)
        add_block(a + k, vectors, x, n, sum + k, 4);
    for (; k < vectors; k++)
        add_block(a + k, vectors, x, n, sum + k, 1);
}

/* Lane i of the result is what lane i of a (i & bit == 0) or b is with that of lane i ^ bit. */
static inline Vector fold(Vector a, Vector b, word bit)
{
    Lanes lane, own, other;
    for (word i = 0; i < WIDTH; i++)
        lane[i] = i;
    own = lane + (((lane & bit) != 0) & WIDTH);
    other = own ^ bit;
    return __builtin_shuffle(a, b, own) + __builtin_shuffle(a, b, other);
}

static inline real total(Vector a)
{
    for (word bit = 1; bit < WIDTH; bit *= 2)
        a = fold(a, a, bit);
    return a[0];
}

/* Lane i of the result is the sum of the lanes of s[i]. */
static inline Vector fold2(const Vector *s) { return fold(s[0], s[1], 1); }
static inline Vector fold4(const Vector *s) { return fold(fold2(s), fold2(s + 2), 2); }
static inline Vector fold8(const Vector *s) { return fold(fold4(s), fold4(s + 4), 4); }
#ifdef SINGLE
static inline Vector totals(const Vector *s) { return fold(fold8(s), fold8(s + 8), 8); }
#else
static inline Vector totals(const Vector *s) { return fold8(s); }
#endif

/* out[i] += rows[i] . x */
static inline void dot_rows(const real *rows, int64_t row, const real *x, int64_t n, real *out)
{
    const Vector *a = (const Vector *)rows, *y = (const Vector *)x;
    int64_t vectors = row / WIDTH, i = 0;
    for (; i + WIDTH <= n; i += WIDTH) {
        Vector s[WIDTH] = {{0}};
        for (int64_t k = 0; k < vectors; k++)
#pragma GCC unroll 16
            for (int j = 0; j < WIDTH; j++)
                s[j] += a[(i + j) * vectors + k] * y[k];
        *(Vector *)(out + i) += totals(s);
    }
    for (; i < n; i++) {
        Vector s = {0};
        for (int64_t k = 0; k < vectors; k++)
            s += a[i * vectors + k] * y[k];
        out[i] += total(s);
    }
}

/* ---- vectors side by side, as of a group of samples ------------------------------------------ */

enum { VECTORS = 2, GROUP = VECTORS * WIDTH };

/* out[i] += sum of a[i * by_row + k * by_term] x[k], for a tile of sums */
static inline void add_tile(const real *a, int64_t by_row, int64_t by_term, const Vector *x,
                            int64_t n, Vector *out, const int rows)
{
    Vector s[8][VECTORS];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < VECTORS; v++)
            s[i][v] = out[i * VECTORS + v];
    for (int64_t k = 0; k < n; k++)
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++)
            for (int v = 0; v < VECTORS; v++)
                s[i][v] += a[i * by_row + k * by_term] * x[k * VECTORS + v];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < VECTORS; v++)
            out[i * VECTORS + v] = s[i][v];
}

static inline void add_product(const real *a, int64_t by_row, int64_t by_term, int64_t rows,
                               const Vector *x, int64_t n, Vector *out)
{
    int64_t i = 0;
    for (; i + 8 <= rows; i += 8)
        add_tile(a + i * by_row, by_row, by_term, x, n, out + i * VECTORS, 8);
    for (; i + 2 <= rows; i += 2)
        add_tile(a + i * by_row, by_row, by_term, x, n, out + i * VECTORS, 2);
    for (; i < rows; i++)
        add_tile(a + i * by_row, by_row, by_term, x, n, out + i * VECTORS, 1);
}

/* ---- one vector ------------------------------------------------------------------------------ */

/* 1 / d: dividing and taking roots are one unit of the processor, which would be the limit. */
static inline Vector reciprocal(Vector d)
{
#ifndef __AVX512F__
    return 1.0 / d;
#else
#ifdef SINGLE
    Vector r = (Vector)_mm512_rcp14_ps((__m512)d);
#else
    Vector r = (Vector)_mm512_rcp14_pd((__m512d)d);
#endif
    Vector e = 1.0 - d * r; /* 2**-14, and after each line the square of it */
    r += r * e;
    return r + r * (e * e);
#endif
}

static inline Vector roots(Vector x)
{
    for (int i = 0; i < WIDTH; i++)
        x[i] = root(x[i]);
    return x;
}

#endif
