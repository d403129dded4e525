/* Begin, with a seed for what is drawn: the same seed draws as `tinyrnn generate --seed` does. */
void tr_init(tr_state *m, uint64_t seed);

/* Forget what was read; random numbers go on. */
void tr_reset(tr_state *m);

/* Read a symbol, 0 to TR_SYMBOLS - 1: the logits of what may follow, TR_SYMBOLS numbers. */
const tr_real *tr_step(tr_state *m, int id);

/* Choose what follows. temperature 0 takes the most probable symbol; top_k (0: all) and top_p (1: all) leave
   only the most probable ones in. TR_UNKNOWN, a place holder, is never chosen. */
int tr_sample(tr_state *m, double temperature, int top_k, double top_p);
