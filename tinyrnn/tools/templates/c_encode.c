int tr_encode(const char *text, size_t *at)
{
    return tr_encode_TR_LEVEL(&tr_TR_NAME, text, at);
}
