int tr_decode(int before, int id, char *out)
{
    return tr_decode_TR_LEVEL(&tr_TR_NAME, before, id, out);
}
