int main(int count, char **given)
{
    static tr_state m;
    static char text[TR_LONGEST];
    if (count < 2) return fprintf(stderr, "usage: %s TEXT ...\n", given[0]), 2;
    for (; count > 1; count--, given++) {
        size_t at = 0;
        int id, before = -1, spaces = 0, begun = 0, k, n;
        tr_reset(&m);
        while ((id = tr_encode(given[1], &at)) >= 0) tr_feed(&m, id);
        while (m.length && (id = tr_next(&m)) >= 0) {
            n = tr_decode(before, id, text);
            before = id;
            for (k = 0; k < n; k++) { /* no spaces at the beginning and the end */
                if (text[k] == ' ') {
                    spaces++;
                    continue;
                }
                for (; begun && spaces; spaces--) putchar(' ');
                spaces = 0;
                begun = 1;
                putchar(text[k]);
            }
        }
        putchar('\n');
    }
    return 0;
}
