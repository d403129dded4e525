int main(int count, char **given)
{
    static tr_state m;
    int i;
    if (count < 2) return fprintf(stderr, "usage: %s TEXT ...\n", given[0]), 2;
    for (; count > 1; count--, given++) {
        size_t at = 0;
        tr_reset(&m);
        while ((i = tr_encode(given[1], &at)) >= 0) tr_feed(&m, i);
        tr_result(&m);
        for (i = 0; i < TR_LABELS; i++)
            printf("%s%s %.6f", i ? "  " : "", tr_label(i), (double)m.probabilities[i]);
        printf(" :");
        for (i = 0; i < TR_LABELS; i++)
            if (tr_said(&m, i)) printf(" %s", tr_label(i));
        printf("\n");
    }
    return 0;
}
