static const char *const tr_help =
    "usage: %s [--length N] [--temperature X] [--top-k N] [--top-p X] [--seed N] [PROMPT]\n";

int main(int count, char **given)
{
    static tr_state m;
    static char text[TR_LONGEST];
    const char *prompt = NULL;
    double temperature = 0.8, top_p = 1;
    long length = 200;
    int top_k = 0, id = TR_FIRST, before = -1, i;
    uint64_t seed = (uint64_t)time(NULL);
    for (i = 1; i < count; i++) {
        if (given[i][0] != '-' || given[i][1] != '-') {
            prompt = given[i];
            continue;
        }
        if (i + 1 == count) return fprintf(stderr, tr_help, given[0]), 2;
        if (!strcmp(given[i], "--length")) length = atol(given[++i]);
        else if (!strcmp(given[i], "--temperature")) temperature = atof(given[++i]);
        else if (!strcmp(given[i], "--top-k")) top_k = atoi(given[++i]);
        else if (!strcmp(given[i], "--top-p")) top_p = atof(given[++i]);
        else if (!strcmp(given[i], "--seed")) seed = strtoull(given[++i], NULL, 10);
        else return fprintf(stderr, tr_help, given[0]), 2;
    }
    tr_init(&m, seed);
    if (prompt) {
        size_t at = 0;
        while ((i = tr_encode(prompt, &at)) >= 0) {
            if (before >= 0) tr_step(&m, before);
            before = i;
        }
        if (before < 0) return fprintf(stderr, "no symbol of the prompt is in this model's vocabulary: use others\n"), 2;
        fputs(prompt, stdout);
        id = before;
    }
    for (before = id; length > 0; length--) {
        tr_step(&m, before);
        id = tr_sample(&m, temperature, top_k, top_p);
        fwrite(text, 1, (size_t)tr_decode(before, id, text), stdout);
        fflush(stdout);
        before = id;
    }
    putchar('\n');
    return 0;
}
