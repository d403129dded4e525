void tr_reset(tr_state *m)
{
    (void)m;
    TR_START
}

const tr_real *tr_step(tr_state *m, const tr_real *row)
{
    tr_run_rows(m, row);
    return TR_MADE;
}
