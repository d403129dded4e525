/* Rows of numbers from the standard input, to its end. */
int main(void)
{
    static tr_state m;
    double x;
    int i = 0;
    tr_real row[TR_INPUTS];
    tr_reset(&m);
    while (scanf("%lf", &x) == 1) {
        row[i++] = (tr_real)x;
        if (i < TR_INPUTS) continue;
        i = 0;
        tr_feed(&m, row);
    }
    if (i) return fprintf(stderr, "the last row has %d numbers: give %d\n", i, TR_INPUTS), 2;
    tr_result(&m);
    for (i = 0; i < TR_LABELS; i++)
        printf("%s %.6f%s\n", tr_label(i), (double)m.probabilities[i], tr_said(&m, i) ? " *" : "");
    return 0;
}
