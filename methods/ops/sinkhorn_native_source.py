"""The C code of Sinkhorn on CPUs: a problem at a time, all its iterations while it lies in the nearest cache.

It is scaling in blocks, as in `methods.ops.sinkhorn_scaling`, with three differences. (1) The kernel K is kept as it is
and turned, so that both passes add up vectors and never within one. (2) A block ends when it has to and not when it
might: with R and C the divisors so far, an entry of the plan is K_ij / (R_i C_j), so one that K has lost is below
2^-126 G, G = max(1, 1/min R) max(1, 1/min C). An iteration lowers min R to no less than 1/n of it and min C to no less
than 1/m, hence (102 - log2 G) / log2(n m) - 1 more iterations are safe, and G is looked at again after these.
(3) Between blocks only whole powers of two move from the divisors into the exponents of K, which rounds nothing; no
logarithm is taken.

What is below 2^-126 is 0 here, in K and on the way: many CPUs take a hundred times as long for such numbers.
"""

from __future__ import annotations

EXP2_POLYNOMIAL = (1.0, 0.693147004, 0.240222424, 0.0555073358, 0.00967151299, 0.00132647273)
"""2^x on [-1/2, 1/2] by powers of x, from the constant on: relative error below 1.1e-7, float32 rounding aside."""

_CODE = r"""
#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
#define AT(p) (*(lanes *)(p))
#define FOR_LANES(v, stride) for (long v = 0; v < (stride); v += LANES)

typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int32_t whole __attribute__((vector_size(4 * LANES), aligned(4)));

/* Each row of a matrix is padded to whole vectors: columns = m and rows = n, rounded up. */
typedef struct {
    long n, m, rows, columns;
    float *log_plan, *kernel;         /* n x columns */
    float *log_turned, *turned;       /* m x rows */
    float *r, *r_shares, *r_exponents; /* rows */
    float *c, *c_shares, *c_exponents; /* columns */
} problem;

static inline lanes splat(float x) { return (lanes){0} + x; }
static inline lanes choose(whole mask, lanes yes, lanes no)
{
    return (lanes)((mask & (whole)yes) | (~mask & (whole)no));
}
static inline lanes lower(lanes a, lanes b) { return choose(a < b, a, b); }
static inline lanes higher(lanes a, lanes b) { return choose(a > b, a, b); }

static float lowest(lanes x)
{
    float found = x[0];
    for (int k = 1; k < LANES; ++k)
        found = x[k] < found ? x[k] : found;
    return found;
}

/* 2^x for x <= 100; 0 where that is below 2^-126, NaN for NaN. Adding 1.5 * 2^23 rounds to a whole number. */
static inline lanes exp2_lanes(lanes x)
{
    const float bias = 0x1.8p23f + 127;
    const lanes shifted = x + bias;
    const lanes rest = x - (shifted - bias);
    lanes value = splat(@HIGHEST@);
@HORNER@
    value *= (lanes)((whole)shifted << 23);
    return (lanes)(~(x < -126.0f) & (whole)value);
}

/* out[j] = sum over i < terms of weights[i] * matrix[i][j], for WIDTH vectors that lie side by side. */
#define FOR_WIDTH(WIDTH) _Pragma("GCC unroll 4") for (int v = 0; v < WIDTH; ++v)
#define SUMS(WIDTH)                                                                                          \
    static void sums_##WIDTH(const float *matrix, long stride, long terms, const float *weights, float *out) \
    {                                                                                                        \
        lanes even[WIDTH], odd[WIDTH];                                                                       \
        FOR_WIDTH(WIDTH) even[v] = odd[v] = splat(0);                                                        \
        long i = 0;                                                                                          \
        for (; i + 2 <= terms; i += 2, matrix += 2 * stride)                                                 \
            FOR_WIDTH(WIDTH) {                                                                               \
                even[v] += weights[i] * AT(matrix + LANES * v);                                              \
                odd[v] += weights[i + 1] * AT(matrix + stride + LANES * v);                                  \
            }                                                                                                \
        if (i < terms)                                                                                       \
            FOR_WIDTH(WIDTH) even[v] += weights[i] * AT(matrix + LANES * v);                                 \
        FOR_WIDTH(WIDTH) AT(out + LANES * v) = even[v] + odd[v];                                             \
    }
SUMS(1) SUMS(2) SUMS(3) SUMS(4)

/* sums[j] = sum over i < terms of matrix[i][j] / divisors[i]. padded: terms, rounded up; shares: scratch of so many. */
static void divided_sums(
    const float *matrix, long stride, long terms, long padded, const float *divisors, float *shares, float *sums)
{
    FOR_LANES(v, padded) AT(shares + v) = 1.0f / AT(divisors + v);
    long left = stride;
    for (; left > 4 * LANES; left -= 4 * LANES, matrix += 4 * LANES, sums += 4 * LANES)
        sums_4(matrix, stride, terms, shares, sums);
    switch (left / LANES) {
        case 1: sums_1(matrix, stride, terms, shares, sums); break;
        case 2: sums_2(matrix, stride, terms, shares, sums); break;
        case 3: sums_3(matrix, stride, terms, shares, sums); break;
        default: sums_4(matrix, stride, terms, shares, sums);
    }
}

static void row_pass(problem *p) { divided_sums(p->turned, p->rows, p->m, p->columns, p->c, p->c_shares, p->r); }
static void column_pass(problem *p) { divided_sums(p->kernel, p->columns, p->n, p->rows, p->r, p->r_shares, p->c); }

/* out = 2^(exponents - down - across), count x stride. */
static void powers(
    const float *exponents, const float *down, const float *across, float *out, long count, long stride)
{
    for (long i = 0; i < count; ++i, exponents += stride, out += stride)
        FOR_LANES(v, stride) AT(out + v) = exp2_lanes(AT(exponents + v) - (down[i] + AT(across + v)));
}

static void fill(float *values, long from, long to, float value)
{
    for (long k = from; k < to; ++k)
        values[k] = value;
}

/* Move whole powers of two from divisors to exponents and leave the divisors in [1, 2). */
static void move_exponents(float *divisors, float *exponents, long count, long stride)
{
    fill(divisors, count, stride, 1.0f);
    FOR_LANES(v, stride) {
        const whole bits = *(whole *)(divisors + v);
        const whole exponent = (bits >> 23) - 127;
        AT(exponents + v) += __builtin_convertvector(exponent, lanes);
        *(whole *)(divisors + v) = bits - (exponent << 23);
    }
}

/* An upper bound, by less than 1, of log2 max(1, 1 / min divisors). */
static long bits_below_one(float *divisors, long count, long stride)
{
    fill(divisors, count, stride, 1.0f);
    lanes low = splat(1.0f);
    FOR_LANES(v, stride) low = lower(AT(divisors + v), low);
    const float least = lowest(low);
    int32_t bits;
    memcpy(&bits, &least, sizeof bits);
    return 127 - (bits >> 23);
}

/* The first iteration, but for the column sums, which want K: the logarithms as they are without potentials, the rows'
   and then the columns' minima gone while they are costs; r; and in c_exponents the columns' largest, rounded. */
static void first_iteration(problem *p, const float *cost, float to_bits)
{
    float *const minima = p->c, *const largest = p->c_exponents;
    fill(minima, 0, p->columns, INFINITY);
    fill(largest, 0, p->columns, -INFINITY);
    fill(p->r_exponents, 0, p->rows, 0);
    for (long i = 0; i < p->n; ++i) {
        float *const row = p->log_plan + i * p->columns;
        memcpy(row, cost + i * p->m, p->m * sizeof *row);
        fill(row, p->m, p->columns, INFINITY);
        lanes low = AT(row), sum = splat(0);
        FOR_LANES(v, p->columns) low = lower(AT(row + v), low);
        const float minimum = lowest(low);
        FOR_LANES(v, p->columns) {
            AT(row + v) -= minimum;
            AT(minima + v) = lower(AT(row + v), AT(minima + v));
            sum += exp2_lanes(AT(row + v) * -to_bits);
        }
        p->r[i] = 0;
        for (int k = 0; k < LANES; ++k)
            p->r[i] += sum[k];
    }
    move_exponents(p->r, p->r_exponents, p->n, p->rows);
    for (long i = 0; i < p->n; ++i) {
        float *const row = p->log_plan + i * p->columns;
        FOR_LANES(v, p->columns) {
            AT(row + v) = (AT(row + v) - AT(minima + v)) * -to_bits;
            AT(largest + v) = higher(AT(row + v) - p->r_exponents[i], AT(largest + v));
        }
        fill(row, p->m, p->columns, -INFINITY);
        for (long j = 0; j < p->m; ++j)
            p->log_turned[j * p->rows + i] = row[j];
    }
    for (long j = 0; j < p->m; ++j)
        fill(p->log_turned + j * p->rows, p->n, p->rows, -INFINITY);
    FOR_LANES(v, p->columns) AT(largest + v) = AT(largest + v) + 0x1.8p23f - 0x1.8p23f;
    fill(largest, p->m, p->columns, 0);
}

static int any_nan(const float *values, long count)
{
    for (long k = 0; k < count; ++k)
        if (values[k] != values[k])
            return 1;
    return 0;
}

/* How many more iterations the bound allows. growth: the bits that an iteration may add, log2(n m). */
static long safe_iterations(problem *p, float growth)
{
    const long used = bits_below_one(p->r, p->n, p->rows) + bits_below_one(p->c, p->m, p->columns);
    return (long)((102 - used) / growth) - 1;
}

static void solve(problem *p, const float *cost, float *plan, long iterations, float to_bits, float growth)
{
    first_iteration(p, cost, to_bits);
    powers(p->log_plan, p->r_exponents, p->c_exponents, p->kernel, p->n, p->columns);
    column_pass(p);
    if (any_nan(p->c, p->m)) {
        fill(plan, 0, p->n * p->m, NAN);
        return;
    }
    for (long done = 1; done < iterations;) {
        powers(p->log_turned, p->c_exponents, p->r_exponents, p->turned, p->m, p->rows);
        long safe = safe_iterations(p, growth);
        safe = safe > 0 ? safe : 1;
        while (safe > 0 && done < iterations) {
            for (; safe > 0 && done < iterations; --safe, ++done) {
                row_pass(p);
                column_pass(p);
            }
            safe = safe_iterations(p, growth);
        }
        move_exponents(p->r, p->r_exponents, p->n, p->rows);
        move_exponents(p->c, p->c_exponents, p->m, p->columns);
        powers(p->log_plan, p->r_exponents, p->c_exponents, p->kernel, p->n, p->columns);
    }
    column_pass(p);
    const float share = 1.0f / (float)p->m;
    for (long j = 0; j < p->m; ++j)
        p->c_shares[j] = share / p->c[j];
    for (long i = 0; i < p->n; ++i)
        for (long j = 0; j < p->m; ++j)
            plan[i * p->m + j] = p->kernel[i * p->columns + j] * p->r_shares[i] * p->c_shares[j];
}

/* cost, plan: count x n x m. work: 2 n columns + 2 m rows + 3 rows + 3 columns floats, rounded up to 16 lanes. */
void sinkhorn(
    const float *cost, float *plan, float *work, long count, long n, long m, long iterations, float to_bits,
    float growth)
{
    const long rows = (n + LANES - 1) / LANES * LANES, columns = (m + LANES - 1) / LANES * LANES;
    problem p = {.n = n, .m = m, .rows = rows, .columns = columns};
    float **const parts[] = {&p.log_plan, &p.kernel, &p.log_turned, &p.turned, &p.r, &p.r_shares, &p.r_exponents,
                             &p.c, &p.c_shares, &p.c_exponents};
    const long sizes[] = {n * columns, n * columns, m * rows, m * rows, rows, rows, rows, columns, columns, columns};
    for (int k = 0; k < 10; work += sizes[k++])
        *parts[k] = work;
#if defined(__SSE__)
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040); /* results and operands below 2^-126 are 0 */
#endif
    for (long b = 0; b < count; ++b)
        solve(&p, cost + b * n * m, plan + b * n * m, iterations, to_bits, growth);
#if defined(__SSE__)
    _mm_setcsr(before);
#endif
}
"""

SOURCE = _CODE.replace("@HIGHEST@", f"{EXP2_POLYNOMIAL[-1]}f").replace(
    "@HORNER@", "\n".join(f"    value = value * rest + {factor}f;" for factor in EXP2_POLYNOMIAL[-2::-1])
)
