static const double tr_periods[] = {TR_PERIODS};

void tr_reset(tr_state *m, double first)
{
    int j;
    m->length = 0;
    for (j = 0; j < TR_SEASONS; j++) {
        const double turns = first / tr_periods[j];
        m->first_phases[j] = F(turns - floor(turns));
    }
    TR_START
}

int tr_feed(tr_state *m, double value)
{
    const tr_real row = F(value);
    if (m->length == TR_MAX_LENGTH) return 0;
    tr_run_read_feed(m, &row);
    m->length++;
    return 1;
}

int tr_forecast(tr_state *m)
{
    int k;
    if (m->length < TR_NEEDED) return 0;
    tr_run_read(m);
    tr_run_step_start(m);
    memcpy(m->all, m->said, 3 * sizeof(tr_real));
    for (k = 1; k < TR_HORIZON; k++) {
        tr_run_step(m);
        memcpy(m->all + 3 * k, m->said, 3 * sizeof(tr_real));
    }
    tr_run_end(m);
    return 1;
}
