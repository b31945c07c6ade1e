/* Convolutions from sites to sites, batch last: the loops behind convolution.py, compiled for REAL = float and double.

   out[o][j][b] = bias[o] + sum_{c,t} weight[o][c][t] x[c][index[t][j]][b],   index = sites_in reads zero

   A tile of OUT outputs and two vectors of the batch stays in registers while c and t run. */
#include <stdint.h>

#define OUT 8
#define WIDE (64 / (int)sizeof(REAL))
#define LANES (2 * WIDE)
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define VECTOR JOIN(vector_, REAL)

typedef REAL VECTOR __attribute__((vector_size(64), aligned(sizeof(REAL)), may_alias));

typedef struct {
    const REAL *x, *weight, *bias;
    const int64_t *index;
    REAL *out;
    int64_t channels, taps, outputs, stride_o, stride_c, sites_in, sites_out, batch;
} JOIN(Job_, REAL);

/* Rows of the weight for OUT outputs from o on; those past the last repeat it, and are not stored. */
static inline void JOIN(rows_, REAL)(const JOIN(Job_, REAL) * job, int64_t o, const REAL *row[OUT]) {
    for (int k = 0; k < OUT; k++)
        row[k] = job->weight + (o + k < job->outputs ? o + k : job->outputs - 1) * job->stride_o;
}

static void JOIN(tile_, REAL)(const JOIN(Job_, REAL) * job, int64_t j, int64_t b, int64_t o) {
    const REAL *row[OUT];
    JOIN(rows_, REAL)(job, o, row);
    VECTOR sum[OUT][2];
#pragma GCC unroll 8
    for (int k = 0; k < OUT; k++) {
        const REAL start = job->bias && o + k < job->outputs ? job->bias[o + k] : 0;
        sum[k][0] = sum[k][1] = start - (VECTOR){0};
    }
    for (int64_t t = 0; t < job->taps; t++) {
        const int64_t site = job->index[t * job->sites_out + j];
        if (site == job->sites_in) continue;
        for (int64_t c = 0; c < job->channels; c++) {
            const REAL *from = job->x + (c * job->sites_in + site) * job->batch + b;
            const int64_t at = c * job->stride_c + t;
            const VECTOR first = *(const VECTOR *)from, second = *(const VECTOR *)(from + WIDE);
#pragma GCC unroll 8
            for (int k = 0; k < OUT; k++) {
                sum[k][0] += row[k][at] * first;
                sum[k][1] += row[k][at] * second;
            }
        }
    }
#pragma GCC unroll 8
    for (int k = 0; k < OUT; k++)
        if (o + k < job->outputs) {
            REAL *to = job->out + ((o + k) * job->sites_out + j) * job->batch + b;
            *(VECTOR *)to = sum[k][0];
            *(VECTOR *)(to + WIDE) = sum[k][1];
        }
}

/* The rest of the batch, one number at a time. */
static void JOIN(rest_, REAL)(const JOIN(Job_, REAL) * job, int64_t j, int64_t b, int64_t o) {
    const REAL *row[OUT];
    JOIN(rows_, REAL)(job, o, row);
    for (; b < job->batch; b++) {
        REAL sum[OUT];
        for (int k = 0; k < OUT; k++) sum[k] = job->bias && o + k < job->outputs ? job->bias[o + k] : 0;
        for (int64_t t = 0; t < job->taps; t++) {
            const int64_t site = job->index[t * job->sites_out + j];
            if (site == job->sites_in) continue;
            for (int64_t c = 0; c < job->channels; c++) {
                const REAL from = job->x[(c * job->sites_in + site) * job->batch + b];
                for (int k = 0; k < OUT; k++) sum[k] += row[k][c * job->stride_c + t] * from;
            }
        }
        for (int k = 0; k < OUT && o + k < job->outputs; k++)
            job->out[((o + k) * job->sites_out + j) * job->batch + b] = sum[k];
    }
}

/* weight[o * stride_o + c * stride_c + t] */
void JOIN(forward_, REAL)(const REAL *x, const REAL *weight, const REAL *bias, const int64_t *index, REAL *out,
                          int64_t channels, int64_t taps, int64_t outputs, int64_t stride_o, int64_t stride_c,
                          int64_t sites_in, int64_t sites_out, int64_t batch) {
    const JOIN(Job_, REAL) job = {x,        weight,   bias,     index,     out,  channels, taps, outputs,
                                  stride_o, stride_c, sites_in, sites_out, batch};
#pragma omp parallel for if (sites_out * batch * taps * channels > 65536)
    for (int64_t j = 0; j < sites_out; j++)
        for (int64_t o = 0; o < outputs; o += OUT) {
            int64_t b = 0;
            for (; b + LANES <= batch; b += LANES) JOIN(tile_, REAL)(&job, j, b, o);
            JOIN(rest_, REAL)(&job, j, b, o);
        }
}

/* OUT outputs and two channels of the weight's gradient at one tap; g and x read from rows that exist. */
static void JOIN(gradient_tile_, REAL)(const JOIN(Job_, REAL) * job, const REAL *g, int64_t c, int64_t t, int64_t o) {
    const int64_t batch = job->batch, stride = job->sites_out * batch;
    const int two = c + 1 < job->channels;
    VECTOR sum[OUT][2] = {{{0}}};
    REAL rest[OUT][2] = {{0}};
    const REAL *row[OUT]; /* outputs past the last repeat it, and are not stored */
    for (int k = 0; k < OUT; k++) row[k] = g + (o + k < job->outputs ? o + k : job->outputs - 1) * stride;
    for (int64_t j = 0; j < job->sites_out; j++) {
        const int64_t site = job->index[t * job->sites_out + j];
        if (site == job->sites_in) continue;
        const REAL *from = job->x + (c * job->sites_in + site) * batch;
        const REAL *next = two ? from + job->sites_in * batch : from;
        int64_t b = 0;
        for (; b + WIDE <= batch; b += WIDE) {
            const VECTOR first = *(const VECTOR *)(from + b), second = *(const VECTOR *)(next + b);
#pragma GCC unroll 8
            for (int k = 0; k < OUT; k++) {
                const VECTOR there = *(const VECTOR *)(row[k] + j * batch + b);
                sum[k][0] += there * first;
                sum[k][1] += there * second;
            }
        }
        for (; b < batch; b++)
            for (int k = 0; k < OUT; k++) {
                rest[k][0] += row[k][j * batch + b] * from[b];
                rest[k][1] += row[k][j * batch + b] * next[b];
            }
    }
    for (int k = 0; k < OUT && o + k < job->outputs; k++)
        for (int e = 0; e <= two; e++) {
            REAL total = rest[k][e];
            for (int v = 0; v < WIDE; v++) total += sum[k][e][v];
            job->out[((o + k) * job->channels + c + e) * job->taps + t] = total;
        }
}

/* grad[o][c][t] = sum_{j,b} g[o][j][b] x[c][index[t][j]][b] */
void JOIN(weight_, REAL)(const REAL *x, const REAL *g, const int64_t *index, REAL *grad, int64_t channels,
                         int64_t taps, int64_t outputs, int64_t sites_in, int64_t sites_out, int64_t batch) {
    const JOIN(Job_, REAL) job = {x, 0, 0, index, grad, channels, taps, outputs, 0, 0, sites_in, sites_out, batch};
#pragma omp parallel for collapse(2) if (sites_out * batch * taps * channels > 65536)
    for (int64_t t = 0; t < taps; t++)
        for (int64_t c = 0; c < channels; c += 2)
            for (int64_t o = 0; o < outputs; o += OUT) JOIN(gradient_tile_, REAL)(&job, g, c, t, o);
}
