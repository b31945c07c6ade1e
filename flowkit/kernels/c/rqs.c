/* Rational-quadratic splines, REAL = float and double: what rqs_torch.py computes, with its names.

   An element in each lane of a vector. Row r of the parameters of element m is params[r * stride + m]: `bins` rows of
   widths, as many of heights, then bins + 1 of slopes, or bins if circular. */
#include <string.h>

#include "vectors.h"

/* Threads, where there is enough to do for what they cost. */
#define PARALLEL(numbers) PRAGMA(omp parallel for schedule(static) if ((numbers) > 65536))

typedef struct {
    int64_t bins, circular, stride;
    REAL least, flat, unit; /* MIN_BIN, MIN_SLOPE, UNIT */
} Spline;

typedef struct {
    Vector x0, y0, w, h, raw0, raw1, d0, d1;
    Vector number; /* of the bin, 0 first */
} Bin;

/* ---------------------------------------------------------------- the spline at WIDE elements */

/* exponentials[k] = exp(p_k - max p), and their sum. */
INLINE Vector shares(Vector *exponentials, const REAL *p, const Spline *spline) {
    Vector top = get(p), total = {0};
    for (int64_t k = 0; k < spline->bins; k++) {
        exponentials[k] = get(p + k * spline->stride);
        top = larger(top, exponentials[k]);
    }
    for (int64_t k = 0; k < spline->bins; k++) total += exponentials[k] = exponential(exponentials[k] - top);
    return total;
}

/* The bin that holds z; exponentials: room for 2 bins, their factors to widths and heights in `factor`. */
INLINE Bin find(Vector z, const REAL *params, const Spline *spline, int inverse, Vector *exponentials, Vector *factor) {
    const int64_t bins = spline->bins, stride = spline->stride;
    const REAL least = spline->least, scale = 1 - least * bins, *slopes = params + 2 * bins * stride;
    const Vector *wide = exponentials, *high = exponentials + bins;
    factor[0] = scale / shares(exponentials, params, spline);
    factor[1] = scale / shares(exponentials + bins, params + bins * stride, spline);
    Bin b = {0};
    b.w = wide[0] * factor[0] + least;
    b.h = high[0] * factor[1] + least;
    b.raw0 = get(slopes);
    b.raw1 = get(slopes + (bins == 1 && spline->circular ? 0 : stride));
    Vector x = b.w, y = b.h;
    for (int64_t k = 1; k < bins; k++) {
        const Mask hit = z >= (inverse ? y : x);
        const Vector w = wide[k] * factor[0] + least, h = high[k] * factor[1] + least;
        b.x0 = select(hit, x, b.x0);
        b.y0 = select(hit, y, b.y0);
        b.w = select(hit, w, b.w);
        b.h = select(hit, h, b.h);
        b.raw0 = select(hit, get(slopes + k * stride), b.raw0);
        b.raw1 = select(hit, get(slopes + (k + 1 == bins && spline->circular ? 0 : k + 1) * stride), b.raw1);
        b.number = select(hit, all(k), b.number);
        x += w;
        y += h;
    }
    b.d0 = spline->flat + softplus(b.raw0 + spline->unit);
    b.d1 = spline->flat + softplus(b.raw1 + spline->unit);
    return b;
}

/* t of the bin that holds z, in [0, 1] in spite of rounding: behind it the slope may be negative. */
INLINE Vector within(Vector t, Vector z) {
    return select((z < 0) | (z > 1), t, select(t < 0, all(0), select(t > 1, all(1), t)));
}

SHARED void evaluate(const REAL *z, const REAL *params, REAL *out, REAL *logs, const Spline *spline, int inverse) {
    Vector exponentials[2 * spline->bins], factor[2], t;
    const Vector from = get(z);
    const Bin b = find(from, params, spline, inverse, exponentials, factor);
    const Vector s = b.h / b.w, bend = b.d0 + b.d1 - 2 * s;
    if (inverse) {
        const Vector r = (from - b.y0) / b.h, linear = b.d0 - r * bend;
        const Vector square = linear * linear + 4 * (s - b.d0 + r * bend) * s * r;
        t = 2 * s * r / (linear + root(select(square < 0, (Vector){0}, square)));
    } else {
        t = (from - b.x0) / b.w;
    }
    t = within(t, from);
    const Vector u = 1 - t, m = t * u, denominator = s + bend * m;
    const Vector slope = b.d1 * t * t + 2 * s * m + b.d0 * u * u;
    const Vector l = 2 * logarithm(s / denominator) + logarithm(slope);
    set(out, inverse ? b.x0 + b.w * t : b.y0 + b.h * (s * t * t + b.d0 * m) / denominator);
    set(logs, inverse ? -l : l);
}

/* The gradient of softmax at `bins` parameters, for cotangents `passed` left of the bin and `here` in it. */
INLINE void share_gradient(REAL *to, int64_t stride, const Vector *exponentials, Vector factor, const Bin *b,
                           int64_t bins, Vector total, Vector passed, Vector here) {
    for (int64_t k = 0; k < bins; k++) {
        const Vector number = all(k);
        const Vector own = select(number < b->number, passed, select(number == b->number, here, (Vector){0}));
        set(to + k * stride, exponentials[k] * factor * (own - total));
    }
}

/* `vjp` of rqs_torch.py; row r of the parameters' gradient is g_params[r * g_stride + m]. */
SHARED void gradient_block(const REAL *at, const REAL *params, const REAL *gy_at, const REAL *gl_at, REAL *g_z,
                           REAL *g_params, const Spline *spline, int64_t g_stride, int inverse) {
    const int64_t bins = spline->bins;
    const REAL least = spline->least, scale = 1 - least * bins;
    Vector exponentials[2 * bins], factor[2];
    const Vector x = get(at);
    const Bin b = find(x, params, spline, 0, exponentials, factor);
    const Vector w = b.w, h = b.h, d0 = b.d0, d1 = b.d1;
    const Vector s = h / w, t = within((x - b.x0) / w, x), u = 1 - t, m = t * u, odd = 1 - 2 * t;
    const Vector bend = d0 + d1 - 2 * s, numerator = s * t * t + d0 * m, over = 1 / (s + bend * m);
    const Vector slope = d1 * t * t + 2 * s * m + d0 * u * u, one_w = 1 / w, one_slope = 1 / slope;
    Vector gy = get(gy_at), gl = get(gl_at);
    if (inverse) {
        const Vector slope_t = 2 * (d1 * t + s * odd - d0 * u);
        const Vector l_x = (slope_t * one_slope - 2 * bend * odd * over) * one_w;
        const Vector back = (gy - gl * l_x) * one_slope / (s * over * (s * over));
        gy = -back;
        gl = -gl;
    }
    const Vector g_num = gy * h * over, g_den = -(g_num * numerator + 2 * gl) * over, g_slope = gl * one_slope;
    const Vector g_m = g_slope * 2 * s + g_num * d0 + g_den * bend, g_bend = g_den * m;
    const Vector g_t = g_slope * 2 * (d1 * t - d0 * u) + g_num * 2 * s * t + g_m * odd;
    const Vector g_s = 2 * gl / s + g_slope * 2 * m + g_num * t * t + g_den - 2 * g_bend;
    const Vector g_d0 = (g_slope * u * u + g_num * m + g_bend) * sigmoid(b.raw0 + spline->unit);
    const Vector g_d1 = (g_slope * t * t + g_bend) * sigmoid(b.raw1 + spline->unit);
    const Vector g_h = gy * numerator * over + g_s * one_w, g_x = g_t * one_w, g_w = -(g_s * s + g_t * t) * one_w;
    set(g_z, inverse ? -gy : g_x);
    const Vector left_w = b.x0 - b.number * least, left_h = b.y0 - b.number * least; /* shares of bins passed, times scale */
    const Vector total_w = ((w - least) * g_w - left_w * g_x) / scale;
    const Vector total_h = ((h - least) * g_h + left_h * gy) / scale;
    share_gradient(g_params, g_stride, exponentials, factor[0], &b, bins, total_w, -g_x, g_w);
    share_gradient(g_params + bins * g_stride, g_stride, exponentials + bins, factor[1], &b, bins, total_h, gy, g_h);
    REAL *slopes = g_params + 2 * bins * g_stride;
    const Vector last = all(bins - 1);
    Vector first = select(b.number == 0, g_d0, (Vector){0});
    const Vector end = select(b.number == last, g_d1, (Vector){0});
    if (spline->circular)
        first += end;
    else
        set(slopes + bins * g_stride, end);
    set(slopes, first);
    for (int64_t k = 1; k < bins; k++) {
        const Vector left = select(b.number == all(k - 1), g_d1, (Vector){0});
        set(slopes + k * g_stride, select(b.number == all(k), g_d0, left));
    }
}

/* ---------------------------------------------------------------- all elements */

/* The last block ends with the last element and may repeat some of the one before. */
#define START(b) ((b) * WIDE + WIDE <= count ? (b) * WIDE : count - WIDE)
#define BLOCKS ((count + WIDE - 1) / WIDE)

static void copy(REAL *to, int64_t to_stride, const REAL *from, int64_t from_stride, int64_t rows, int64_t count) {
    for (int64_t r = 0; r < rows; r++) memcpy(to + r * to_stride, from + r * from_stride, sizeof(REAL) * count);
}

/* out and logs at `count` elements of z. */
void NAME(map)(const REAL *z, const REAL *params, REAL *out, REAL *logs, int64_t bins, int64_t circular, int64_t inverse,
               int64_t stride, double least, double flat, double unit, int64_t count) {
    const Spline spline = {bins, circular, stride, least, flat, unit};
    const int64_t rows = 3 * bins + !circular;
    if (count < WIDE) {
        REAL z_[WIDE] = {0}, out_[WIDE], logs_[WIDE], params_[rows * WIDE];
        memset(params_, 0, sizeof params_);
        copy(z_, WIDE, z, count, 1, count);
        copy(params_, WIDE, params, stride, rows, count);
        NAME(map)(z_, params_, out_, logs_, bins, circular, inverse, WIDE, least, flat, unit, WIDE);
        copy(out, count, out_, WIDE, 1, count);
        copy(logs, count, logs_, WIDE, 1, count);
        return;
    }
    PARALLEL(count * rows)
    for (int64_t b = 0; b < BLOCKS; b++) {
        const int64_t m = START(b);
        evaluate(z + m, params + m, out + m, logs + m, &spline, inverse);
    }
}

/* Gradients g_z and g_params[rows][count] for cotangents gy and gl of the map's two outputs. */
void NAME(gradient)(const REAL *x, const REAL *params, const REAL *gy, const REAL *gl, REAL *g_z, REAL *g_params,
                    int64_t bins, int64_t circular, int64_t inverse, int64_t stride, double least, double flat,
                    double unit, int64_t count) {
    const Spline spline = {bins, circular, stride, least, flat, unit};
    const int64_t rows = 3 * bins + !circular;
    if (count < WIDE) {
        REAL x_[WIDE] = {0}, gy_[WIDE] = {0}, gl_[WIDE] = {0}, g_z_[WIDE], params_[rows * WIDE], g_params_[rows * WIDE];
        memset(params_, 0, sizeof params_);
        copy(x_, WIDE, x, count, 1, count);
        copy(gy_, WIDE, gy, count, 1, count);
        copy(gl_, WIDE, gl, count, 1, count);
        copy(params_, WIDE, params, stride, rows, count);
        NAME(gradient)(x_, params_, gy_, gl_, g_z_, g_params_, bins, circular, inverse, WIDE, least, flat, unit, WIDE);
        copy(g_z, count, g_z_, WIDE, 1, count);
        copy(g_params, count, g_params_, WIDE, rows, count);
        return;
    }
    PARALLEL(count * rows)
    for (int64_t b = 0; b < BLOCKS; b++) {
        const int64_t m = START(b);
        gradient_block(x + m, params + m, gy + m, gl + m, g_z + m, g_params + m, &spline, count, inverse);
    }
}
