/* The next symbol of a text that ends in 0, from the byte *at on, which moves on (begin with 0); -1 at its end. */
int tr_encode(const char *text, size_t *at);
