/* Begin a sequence. */
void tr_reset(tr_state *m);

/* Read TR_READ.
   Returns 0, and reads nothing, where there were as many as can be. */
int tr_feed(tr_state *m, TR_GIVEN);

/* The probabilities of the labels of what was read so far, TR_LABELS numbers; one may go on reading. */
const tr_real *tr_result(tr_state *m);

/* A label. */
const char *tr_label(int i);

/* Whether the last result says it: the most probable one, or where there may be several from its threshold on. */
int tr_said(const tr_state *m, int i);
