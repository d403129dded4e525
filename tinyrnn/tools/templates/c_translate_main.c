int main(int count, char **given)
{
    static tr_state m;
    static char text[TR_MAX_LENGTH * TR_LONGEST + 1];
    if (count < 2) return fprintf(stderr, "usage: %s TEXT ...\n", given[0]), 2;
    for (; count > 1; count--, given++) {
        size_t at = 0, begin = 0, end = 0;
        int id, before = -1;
        tr_reset(&m);
        while ((id = tr_encode(given[1], &at)) >= 0) tr_feed(&m, id);
        for (; m.length && (id = tr_next(&m)) >= 0; before = id) end += (size_t)tr_decode(before, id, text + end);
        while (end > 0 && strchr(" \n\r\t", text[end - 1])) end--;
        while (begin < end && strchr(" \n\r\t", text[begin])) begin++;
        printf("%.*s\n", (int)(end - begin), text + begin);
    }
    return 0;
}
