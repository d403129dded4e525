/* Write the text of a symbol, after that of the symbol before it (-1: none), without a 0 at its end: at most
   TR_LONGEST bytes. Returns how many. */
int tr_decode(int before, int id, char *out);
