void tr_reset(tr_state *m)
{
    m->length = m->written = 0;
    m->last = TR_END;
    TR_START
}

int tr_feed(tr_state *m, int id)
{
    if (m->length == TR_MAX_LENGTH) return 0;
    tr_run_read_feed(m, id);
    m->length++;
    return 1;
}

int tr_next(tr_state *m)
{
    const int limit = 2 * m->length + 20 < TR_MAX_LENGTH ? 2 * m->length + 20 : TR_MAX_LENGTH;
    int best = -1, i;
    if (m->written == 0) {
        if (m->length == 0) tr_feed(m, 0);
        tr_run_read(m);
    }
    if (m->written == limit || (m->written && m->last == TR_END)) return -1;
    tr_run_step(m, m->last);
    for (i = 0; i <= TR_END; i++)
        if (i != TR_UNKNOWN && (best < 0 || m->logits[i] > m->logits[best])) best = i;
    m->written++;
    m->last = best;
    return best == TR_END ? -1 : best;
}
