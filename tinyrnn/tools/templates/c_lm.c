static uint64_t tr_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

void tr_reset(tr_state *m)
{
    tr_run_step_start(m);
}

void tr_init(tr_state *m, uint64_t seed)
{
    m->key = tr_mix(tr_mix(seed) + 0x9E3779B97F4A7C15u);
    m->drawn = 0;
    memset(m->logits, 0, sizeof m->logits);
    tr_reset(m);
}

const tr_real *tr_step(tr_state *m, int id)
{
    tr_run_step(m, id);
    return m->logits;
}

/* Whether the symbol a is more probable than b; of two that are as probable, the first. */
static int tr_before(const double *p, int a, int b)
{
    return p[a] > p[b] || (p[a] == p[b] && a < b);
}

static void tr_sift(const double *p, int *heap, int n, int at)
{
    for (;;) {
        int child = 2 * at + 1, own = heap[at];
        if (child >= n) return;
        if (child + 1 < n && tr_before(p, heap[child + 1], heap[child])) child++;
        if (!tr_before(p, heap[child], own)) return;
        heap[at] = heap[child];
        heap[child] = own;
        at = child;
    }
}

int tr_sample(tr_state *m, double temperature, int top_k, double top_p)
{
    const tr_real *z = m->logits;
    const uint64_t bits = tr_mix(m->key + (m->drawn++ + 1) * 0x9E3779B97F4A7C15u) >> 11;
    double *p = m->odds, total = 0, goal, sum = 0;
    int *last = m->order + TR_SYMBOLS - 1; /* what may be chosen stands at last[0], last[-1] ... */
    int best = -1, kept = TR_SYMBOLS, i, id = 0;
    for (i = 0; i < TR_SYMBOLS; i++)
        if (i != TR_UNKNOWN && (best < 0 || z[i] > z[best])) best = i;
    if (temperature == 0) return best;
    for (i = 0; i < TR_SYMBOLS; i++) {
        p[i] = i == TR_UNKNOWN ? 0 : exp(((double)z[i] - (double)z[best]) / temperature);
        total += p[i];
        last[-i] = i;
    }
    if (top_k > 0 || top_p < 1) { /* the most probable go to the end of a heap, one after the other */
        const int most = top_k > 0 && top_k < TR_SYMBOLS ? top_k : TR_SYMBOLS;
        for (i = TR_SYMBOLS / 2 - 1; i >= 0; i--) tr_sift(p, m->order, TR_SYMBOLS, i);
        for (kept = 0; kept < most && (top_k > 0 || sum < top_p * total); kept++) {
            const int first = m->order[0];
            m->order[0] = last[-kept];
            last[-kept] = first;
            tr_sift(p, m->order, TR_SYMBOLS - 1 - kept, 0);
            sum += p[first];
        }
        if (top_k > 0 && top_p < 1) {
            for (i = 0, goal = top_p * sum, sum = 0; i < kept && sum < goal; i++) sum += p[last[-i]];
            kept = i;
        }
    }
    for (i = 0, total = 0; i < kept; i++) total += p[last[-i]];
    goal = (double)bits * 1.1102230246251565e-16 * total;
    for (i = 0, sum = 0; i < kept; i++) {
        sum += p[last[-i]];
        if (p[last[-i]] > 0) id = last[-i];
        if (sum > goal) break;
    }
    return id;
}
