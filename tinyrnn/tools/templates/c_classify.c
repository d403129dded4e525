static const char *const tr_labels[] = {
TR_NAMES
};

void tr_reset(tr_state *m)
{
    m->length = 0;
    TR_START
}

int tr_feed(tr_state *m, TR_GIVEN)
{
    if (TR_FULL) return 0;
    TR_SCALED
    tr_run_classify_feed(m, TR_FED);
    m->length++;
    return 1;
}

const tr_real *tr_result(tr_state *m)
{
    TR_SOMETHING
    tr_run_classify(m);
    return m->probabilities;
}

const char *tr_label(int i)
{
    return tr_labels[i];
}

int tr_said(const tr_state *m, int i)
{
    TR_SAID
}
