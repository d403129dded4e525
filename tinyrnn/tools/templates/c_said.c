int best = 0, j;
    for (j = 1; j < TR_LABELS; j++)
        if (m->probabilities[j] > m->probabilities[best]) best = j;
    return i == best;
