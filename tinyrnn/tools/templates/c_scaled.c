tr_real scaled[TR_INPUTS];
    for (int j = 0; j < TR_INPUTS; j++) scaled[j] = (tr_real)(((double)row[j] - tr_mean[j]) / tr_deviation[j]);
