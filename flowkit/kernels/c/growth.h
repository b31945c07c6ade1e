/* How the logarithm of the normaliser of a heatbath grows with the staples, ORDER = 0 for U(1) and 1 for SU(2). */
#define TERMS 96

/* Of I_nu(x) = (x/2)^nu / nu! sum_m t^m nu! / (m! (m + nu)!) with t = x^2 / 4: 1 / (m (m + nu)), for nu = ORDER and
   ORDER + 1. */
typedef struct {
    REAL factor[2][TERMS];
    int64_t terms;
} Series;

/* ln z(a + difference) - ln z(a) for z(x) = I_ORDER(x) / x^ORDER: the integral of I_(ORDER+1) / I_ORDER by Gauss' rule
   of three nodes. */
SHARED Vector log_growth(const Series *series, Vector a, Vector difference) {
    const REAL place[3] = {(REAL)0.11270166537925831148, (REAL)0.5, (REAL)0.88729833462074168852};
    Vector total = {0};
    UNROLL for (int k = 0; k < 3; k++) {
        const Vector x = (a + difference * place[k]) * (REAL)0.5, t = x * x;
        Vector low = all(1), high = all(1);
        for (int64_t m = series->terms - 1; m >= 0; m--) {
            low = low * t * series->factor[0][m] + 1;
            high = high * t * series->factor[1][m] + 1;
        }
        total += (k == 1 ? (REAL)0.44444444444444444444 : (REAL)0.27777777777777777778) * x * high / low;
    }
    return total * difference * ((REAL)1 / (ORDER + 1));
}

/* |u + h v| - |u|, without cancellation; `square` = |v|^2, `overlap` = u v. */
INLINE Vector longer(Vector length, Vector overlap, Vector square, REAL h) {
    const Vector change = h * (2 * overlap + h * square), after = root(larger(length * length + change, (Vector){0}));
    const Vector both = length + after;
    return change / select(both <= 0, all(1), both);
}
