int main(int count, char **given)
{
    static tr_state m;
    double value;
    int k;
    tr_reset(&m, count > 1 ? atof(given[1]) : 0);
    while (scanf("%lf", &value) == 1)
        if (!tr_feed(&m, value)) return fprintf(stderr, "more than %d values\n", TR_MAX_LENGTH), 2;
    if (!feof(stdin) || !tr_forecast(&m)) {
        fprintf(stderr, "usage: %s [FIRST] < VALUES, numbers, %d at least\n", given[0], TR_NEEDED);
        return 2;
    }
    for (k = 0; k < TR_HORIZON; k++)
        printf("%.9g\t%.9g to %.9g\n", (double)m.forecast[k], (double)m.lower[k], (double)m.upper[k]);
    return 0;
}
