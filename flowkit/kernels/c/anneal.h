/* Annealing of links with Wilson's action along beta by heatbath, a chain in each lane: the last header that
   wilson_u1.c, wilson_su2.c and wilson_su3.c include. */
INLINE void grown_sums(const Link *field, const int64_t *row, int64_t staples, const REAL *couplings, Sum *A, Sum *S) {
    memset(A, 0, sizeof *A);
    memset(S, 0, sizeof *S);
    for (int64_t plane = 0; 2 * plane < staples; plane++, row += 6) {
        Sum one;
        memset(&one, 0, sizeof one);
        add(&one, field + row[1], field + row[2], field + row[3], 0);
        add(&one, field + row[4], field + row[5], field + row[6], 1);
        for (size_t i = 0; i < sizeof one / sizeof(Vector); i++) {
            ((Vector *)S)[i] += ((Vector *)&one)[i];
            ((Vector *)A)[i] += couplings[plane] * ((Vector *)&one)[i];
        }
    }
}

static void NAME(reflect_all)(const Plan *plan, Link *field, int64_t last) {
    for (int64_t i = 0; i < plan->links; i++) {
        const int64_t *row = plan->table + i * ROW;
        const Sum sum = sum_in_lanes(field, row, plan->staples);
        const Link new = reflect(field + row[0], &sum);
        field[row[0]] = last ? restore(&new) : new;
    }
}

/* Heatbath sweeps in which the coupling of the planes of a sublattice grows by a quarter of the way from betas[k] to
   betas[k + 1] before its links are drawn; grown[part, plane] is the part of the way that lies behind. `logw` collects
   the logarithm of the weights of each chain. */
void NAME(anneal)(REAL *x, const int64_t *table, const int64_t *parts, const int64_t *key, const double *betas,
                  const double *grown, double *logw, int64_t chains, int64_t links, int64_t count, int64_t staples,
                  int64_t sweeps, int64_t over, int64_t terms, int64_t threads) {
    const Plan all_links = {table, parts, links, staples, 0, 0, key, 0}, *plan = &all_links;
    Series series;
    series.terms = terms < TERMS ? terms : TERMS;
    for (int64_t m = 0; m < TERMS; m++)
        for (int nu = 0; nu < 2; nu++) series.factor[nu][m] = (REAL)(1.0 / ((m + 1.0) * (m + 1.0 + nu + ORDER)));
    PRAGMA(omp parallel for schedule(dynamic) if (threads > 1 && chains > WIDE))
    for (int64_t first = 0; first < chains; first += WIDE) {
        const int64_t lanes = chains - first < WIDE ? chains - first : WIDE; /* the others repeat the last one */
        void *memory = __builtin_malloc(links * sizeof(Link) + BYTES);
        Link *field = (Link *)(((uintptr_t)memory + BYTES - 1) / BYTES * BYTES);
        REAL *at[WIDE];
        double total[WIDE] = {0};
        Stream stream;
        memcpy(stream.key, key, sizeof stream.key);
        for (int l = 0; l < WIDE; l++) stream.chain[l] = (uint32_t)(first + l);
        for (int64_t i = 0; i < links; i++) {
            for (int l = 0; l < WIDE; l++) at[l] = x + ((first + (l < lanes ? l : lanes - 1)) * links + i) * RECORD;
            field[i] = take((const REAL *const *)at);
        }
        for (int64_t k = 0; k < sweeps; k++) {
            const double way = betas[k + 1] - betas[k];
            for (int64_t p = 0; p < count; p++) {
                REAL couplings[16];
                for (int64_t plane = 0; 2 * plane < staples; plane++)
                    couplings[plane] = (REAL)(betas[k] + way * grown[p * (staples / 2) + plane]);
                for (int64_t i = parts[p]; i < parts[p + 1]; i++) {
                    const int64_t *row = table + i * ROW;
                    Sum A, S;
                    Vector log;
                    for (int l = 0; l < WIDE; l++) stream.link[l] = (uint32_t)row[0];
                    stream.sweep = (uint32_t)k;
                    stream.count = 0;
                    grown_sums(field, row, staples, couplings, &A, &S);
                    const Link new = grow(field + row[0], &A, &S, (REAL)(way / 4), &series, &stream, &log);
                    field[row[0]] = k % 16 == 15 || k == sweeps - 1 ? restore(&new) : new;
                    for (int l = 0; l < WIDE; l++) total[l] += log[l];
                }
            }
            for (int64_t o = 0; o < over; o++) NAME(reflect_all)(plan, field, k == sweeps - 1 && o == over - 1);
        }
        for (int64_t i = 0; i < links; i++) {
            for (int l = 0; l < WIDE; l++) at[l] = x + ((first + (l < lanes ? l : lanes - 1)) * links + i) * RECORD;
            give(at, field + i, lanes);
        }
        for (int64_t l = 0; l < lanes; l++) logw[first + l] = total[l];
        __builtin_free(memory);
    }
}
