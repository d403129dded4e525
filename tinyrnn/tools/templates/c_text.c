typedef struct {
    const unsigned char *bytes; /* of all symbols, one after the other */
    const uint32_t *starts;     /* where each begins; the last: where they end */
    const uint32_t *sorted;     /* symbols in the order of their bytes */
    const unsigned char *edges; /* 1: begins as a word, 2: ends as one; 4: is a line end */
    int count, unknown;
} tr_vocabulary;

static int tr_compare(const tr_vocabulary *v, uint32_t id, size_t space, const char *text, size_t size)
{
    const unsigned char *symbol = v->bytes + v->starts[id];
    const size_t n = v->starts[id + 1] - v->starts[id];
    size_t i;
    for (i = 0; i < n && i < size + space; i++) {
        const unsigned char c = i < space ? ' ' : (unsigned char)text[i - space];
        if (symbol[i] != c) return symbol[i] < c ? -1 : 1;
    }
    return n == size + space ? 0 : n < size + space ? -1 : 1;
}

/* The number of a symbol, which may begin with a space; -1: there is none. */
static int tr_find(const tr_vocabulary *v, size_t space, const char *text, size_t size)
{
    int low = 0, high = v->count;
    while (low < high) {
        const int middle = low + (high - low) / 2;
        const int order = tr_compare(v, v->sorted[middle], space, text, size);
        if (order == 0) return (int)v->sorted[middle];
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    return -1;
}

static unsigned char tr_small(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c + 32) : c;
}

/* The same where capitals A to Z do not matter. */
static int tr_find_any_case(const tr_vocabulary *v, size_t space, const char *text, size_t size)
{
    int id = tr_find(v, space, text, size);
    int i;
    for (i = v->count - 1; id < 0 && i >= 0; i--) {
        const unsigned char *symbol = v->bytes + v->starts[i];
        size_t k = v->starts[i + 1] - v->starts[i] == size + space ? 0 : size + space + 1;
        for (; k < size + space; k++)
            if (tr_small(symbol[k]) != (k < space ? ' ' : tr_small((unsigned char)text[k - space]))) break;
        if (k == size + space) id = i;
    }
    return id;
}

/* How many bytes the character at the beginning of a text has, and its code point. */
static size_t tr_character(const char *text, uint32_t *code)
{
    const unsigned char *s = (const unsigned char *)text;
    const size_t size = s[0] < 0x80 ? 1 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc0 ? 2 : 1;
    uint32_t found = size == 1 ? s[0] : s[0] & (0xffu >> (size + 1));
    size_t i;
    for (i = 1; i < size; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            *code = 0xfffd;
            return 1;
        }
        found = found << 6 | (s[i] & 0x3f);
    }
    *code = size == 1 && s[0] >= 0x80 ? 0xfffd : found;
    return size;
}

static int tr_is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xa0 || c == 0x1680
        || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* Past white space; what does not end at a line end if lines are told. */
static size_t tr_past_spaces(const char *text, size_t at, int lines)
{
    for (;;) {
        uint32_t c;
        const size_t size = tr_character(text + at, &c);
        if (!tr_is_space(c) || (lines && c == '\n')) return at;
        at += size;
    }
}

static int tr_is_word(uint32_t c)
{
    int low = 0, high = (int)(sizeof tr_words / sizeof *tr_words) / 2;
    while (low < high) {
        const int middle = low + (high - low) / 2;
        if (c > tr_words[2 * middle + 1]) low = middle + 1;
        else high = middle;
    }
    return low < (int)(sizeof tr_words / sizeof *tr_words) / 2 && c >= tr_words[2 * low];
}

/* How many bytes the word at the beginning of a text has, apostrophes inside it too. */
static size_t tr_word(const char *text)
{
    size_t size = 0, end = 0;
    for (;;) {
        uint32_t c;
        size_t next = tr_character(text + size, &c);
        const size_t begin = size;
        for (; tr_is_word(c); next = tr_character(text + size, &c)) size += next;
        if (size == begin) return end;
        end = size;
        if (c != '\'' && c != 0x2019) return end;
        size += next;
    }
}

static int tr_encode_byte(const tr_vocabulary *v, const char *text, size_t *at)
{
    (void)v;
    return text[*at] ? (unsigned char)text[(*at)++] : -1;
}

static int tr_encode_char(const tr_vocabulary *v, const char *text, size_t *at)
{
    while (text[*at]) {
        uint32_t c;
        const size_t size = tr_character(text + *at, &c);
        const int id = tr_find(v, 0, text + *at, size);
        *at += size;
        if (id >= 0 || v->unknown >= 0) return id >= 0 ? id : v->unknown;
    }
    return -1;
}

/* Words, punctuation and white space, words and punctuation with the space before them. */
static int tr_encode_word(const tr_vocabulary *v, const char *text, size_t *at)
{
    while (text[*at]) {
        const size_t space = text[*at] == ' ';
        const char *begin = text + *at + space;
        size_t size = tr_word(begin);
        uint32_t c;
        int id;
        if (size == 0) {
            size = tr_character(begin, &c);
            if (*begin && !tr_is_space(c)) {
                id = TR_FIND(v, space, begin, size);
                *at += space + size;
            } else {
                size = tr_character(text + *at, &c);
                id = TR_FIND(v, 0, text + *at, size);
                *at += size;
            }
        } else {
            id = TR_FIND(v, space, begin, size);
            *at += space + size;
        }
        if (id >= 0 || v->unknown >= 0) return id >= 0 ? id : v->unknown;
    }
    return -1;
}

/* The same of a text in which one space stands before each word, however it is written. */
static int tr_encode_word_single(const tr_vocabulary *v, const char *text, size_t *at)
{
    for (;;) {
        const size_t begin = tr_past_spaces(text, *at, 0), space = begin == 0 || begin > *at;
        size_t size = tr_word(text + begin);
        uint32_t c;
        int id;
        if (!text[begin]) return -1;
        if (size == 0) size = tr_character(text + begin, &c);
        id = TR_FIND(v, space, text + begin, size);
        *at = begin + size;
        if (id >= 0 || v->unknown >= 0) return id >= 0 ? id : v->unknown;
    }
}

/* What stands between white space; with lines also their ends. */
static int tr_encode_between(const tr_vocabulary *v, const char *text, size_t *at, int lines)
{
    for (;;) {
        const size_t begin = tr_past_spaces(text, *at, lines);
        size_t end = begin;
        uint32_t c;
        int id;
        if (!text[begin]) return -1;
        if (text[begin] == '\n') {
            id = tr_find(v, 0, "<eos>", 5);
            end++;
        } else {
            size_t size = tr_character(text + end, &c);
            for (; text[end] && !tr_is_space(c); size = tr_character(text + end, &c)) end += size;
            id = TR_FIND(v, 0, text + begin, end - begin);
        }
        *at = end;
        if (id >= 0 || v->unknown >= 0) return id >= 0 ? id : v->unknown;
    }
}

static int tr_encode_token(const tr_vocabulary *v, const char *text, size_t *at)
{
    return tr_encode_between(v, text, at, 1);
}

static int tr_encode_token_single(const tr_vocabulary *v, const char *text, size_t *at)
{
    return tr_encode_between(v, text, at, 0);
}

static int tr_written(const tr_vocabulary *v, int space, int id, char *out)
{
    const int size = (int)(v->starts[id + 1] - v->starts[id]);
    if (space) out[0] = ' ';
    memcpy(out + space, v->bytes + v->starts[id], (size_t)size);
    return size + space;
}

static int tr_decode_char(const tr_vocabulary *v, int before, int id, char *out)
{
    (void)before;
    return tr_written(v, 0, id, out);
}

static int tr_decode_byte(const tr_vocabulary *v, int before, int id, char *out)
{
    (void)v, (void)before;
    out[0] = (char)id;
    return 1;
}

static int tr_decode_word(const tr_vocabulary *v, int before, int id, char *out)
{
    return tr_written(v, before >= 0 && (v->edges[before] & 2) && (v->edges[id] & 1), id, out);
}

static int tr_decode_token(const tr_vocabulary *v, int before, int id, char *out)
{
    if (v->edges[id] & 4) {
        out[0] = '\n';
        return 1;
    }
    return tr_written(v, before >= 0 && !(v->edges[before] & 4), id, out);
}
