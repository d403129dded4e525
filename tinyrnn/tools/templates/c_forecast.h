/* Begin a series. first: the number of the step of its first value, counted from where all seasons begin: for
   rows without dates the number of the row, from 0. */
void tr_reset(tr_state *m, double first);

/* Read the next value. Returns 0, and reads nothing, where there were TR_MAX_LENGTH. */
int tr_feed(tr_state *m, double value);

/* Forecast the TR_HORIZON steps that follow: m->forecast, and m->lower and m->upper, the ends of the interval.
   Returns 0 where fewer than TR_NEEDED values were read. More may be read afterwards. */
int tr_forecast(tr_state *m);
