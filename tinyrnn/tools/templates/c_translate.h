/* Begin a source. */
void tr_reset(tr_state *m);

/* Read a symbol of the source, 0 to TR_SOURCE_SYMBOLS - 1. Returns 0, and reads nothing, where there were
   TR_MAX_LENGTH. */
int tr_feed(tr_state *m, int id);

/* The next symbol of the translation, -1 at its end: the most probable one. m->weights, of m->length steps, then
   say how much attention each symbol of the source got; m->logits are those of all TR_SYMBOLS symbols. */
int tr_next(tr_state *m);
