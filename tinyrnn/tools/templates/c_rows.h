/* Begin. */
void tr_reset(tr_state *m);

/* One step: from a row of TR_INPUTS numbers to one of TR_OUTPUTS. */
const tr_real *tr_step(tr_state *m, const tr_real *row);
