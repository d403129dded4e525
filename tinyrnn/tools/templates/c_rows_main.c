/* Rows of numbers from the standard input, to its end. */
int main(void)
{
    static tr_state m;
    double x;
    int i = 0, j;
    tr_real row[TR_INPUTS];
    tr_reset(&m);
    while (scanf("%lf", &x) == 1) {
        row[i++] = (tr_real)x;
        if (i < TR_INPUTS) continue;
        tr_step(&m, row);
        for (i = 0, j = 0; j < TR_OUTPUTS; j++) printf("%.9g%c", (double)m.TR_OUT[j], j + 1 < TR_OUTPUTS ? ' ' : '\n');
    }
    if (i) return fprintf(stderr, "the last row has %d numbers: give %d\n", i, TR_INPUTS), 2;
    return 0;
}
