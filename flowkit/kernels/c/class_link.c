/* A link from the table of a class function and its slopes, as class_link.py defines them, REAL = float and double. */
#include <math.h>
#include <stdint.h>

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(name) JOIN(name, REAL)
#define STEPS 4 /* of Newton's method, from the root for a density linear in the cell */

/* Cubics in W between two rows: weights of value and slope of the first, then of the second; slopes of the weights. */
typedef struct {
    REAL value[4], slope[4];
} Weights;

static Weights weigh(REAL t) {
    const REAL u = 1 - t;
    return (Weights){{(1 + 2 * t) * u * u, t * u * u, (3 - 2 * t) * t * t, -u * t * t},
                     {-6 * t * u, u * (u - 2 * t), 6 * t * u, t * (3 * t - 2)}};
}

static REAL mix(const REAL *weights, REAL value, REAL slope, REAL next_value, REAL next_slope) {
    return weights[0] * value + weights[1] * slope + weights[2] * next_value + weights[3] * next_slope;
}

/* e: values and slopes of the cubic in a cell, p, dp, q, dq. */
static REAL cubic(const REAL *e, REAL t) {
    const REAL u = 1 - t;
    return e[0] * (1 + 2 * t) * u * u + e[1] * t * u * u + e[2] * (3 - 2 * t) * t * t - e[3] * u * t * t;
}

static REAL cubic_slope(const REAL *e, REAL t) {
    const REAL u = 1 - t;
    return 6 * t * u * (e[2] - e[0]) + e[1] * u * (u - 2 * t) + e[3] * t * (3 * t - 2);
}

static REAL quartic(const REAL *e, REAL t) {
    const REAL rise = e[2] - e[0], bend = e[1] + e[3];
    return t * (e[0] + t * (e[1] / 2 + t * (rise - (bend + e[1]) / 3 + t * (bend - 2 * rise) / 4)));
}

/* out[6][count]: x, log p, dx/du, dx/dW, dlog p/du, dlog p/dW. */
void NAME(class_link)(const REAL *u, const REAL *w, const REAL *nodes, const REAL *cdf, REAL *out, int64_t rows,
                      int64_t cells, int64_t count) {
    const REAL per_w = rows / (REAL)3.14159265358979323846, least = sizeof(REAL) == 4 ? 1e-37f : 1e-300;
#pragma omp parallel for schedule(static) if (count > 8192)
    for (int64_t m = 0; m < count; m++) {
        const REAL place = (w[m] < 0 ? -w[m] : w[m]) * per_w, to_row = w[m] < 0 ? -per_w : w[m] > 0 ? per_w : 0;
        const int64_t row = place < rows - 1 ? (int64_t)place : rows - 1;
        const Weights weights = weigh(place - row);
        const REAL *near = cdf + 2 * row * (cells + 1), *far = near + 2 * (cells + 1);
        int64_t cell = 0;
        for (int64_t step = cells / 2; step; step /= 2) {
            const int64_t at = 2 * (cell + step);
            if (mix(weights.value, near[at], near[at + 1], far[at], far[at + 1]) <= u[m]) cell += step;
        }
        REAL ends[4], moved[4]; /* of the density in the cell, and its slope in W */
        for (int k = 0; k < 4; k++) {
            const REAL *a = nodes + 4 * (row * (cells + 1) + cell + k / 2) + k % 2, *b = a + 4 * (cells + 1);
            ends[k] = mix(weights.value, a[0], a[2], b[0], b[2]);
            moved[k] = mix(weights.slope, a[0], a[2], b[0], b[2]);
        }
        near += 2 * cell;
        far += 2 * cell;
        const REAL below = mix(weights.value, near[0], near[1], far[0], far[1]);
        const REAL below_moved = mix(weights.slope, near[0], near[1], far[0], far[1]);
        REAL mass = (u[m] - below) * cells;
        mass = mass > 0 ? mass : 0;
        const REAL square = ends[0] * ends[0] + 2 * (ends[2] - ends[0]) * mass;
        REAL t = 2 * mass / (ends[0] + (REAL)sqrt(square > 0 ? square : 0));
        t = t < 1 ? t : 1;
        for (int step = 0; step < STEPS; step++) {
            const REAL slope = cubic(ends, t);
            t -= (quartic(ends, t) - mass) / (slope > least ? slope : least);
            t = t > 0 ? t < 1 ? t : 1 : 0;
        }
        const REAL density = cubic(ends, t), p = density > least ? density : least;
        const REAL bent = cubic_slope(ends, t) * cells / p; /* dlog p / dx */
        const REAL x_w = -(below_moved + quartic(moved, t) / cells) / p * to_row;
        out[m] = (cell + t) / cells + 0 * (u[m] + w[m]); /* NaN stays NaN, which the comparisons above hide */
        out[count + m] = (REAL)log(p) + 0 * (u[m] + w[m]);
        out[2 * count + m] = 1 / p;
        out[3 * count + m] = x_w;
        out[4 * count + m] = bent / p;
        out[5 * count + m] = cubic(moved, t) / p * to_row + bent * x_w;
    }
}
