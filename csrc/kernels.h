/* The vector operations of ops.h, written once over the vocabulary of one instruction set.
 *
 * Included by each isa_*.h after it has defined:
 *
 *   XEP419_FN(op)      the operation's name with the instruction set's suffix
 *   XEP419_TARGET      the function attribute that enables the instruction set
 *   V, VW, V_KEEP      a vector of bytes, its width, and the type of what V_INVARIANT answers
 *   V_LOAD V_STORE     unaligned; V_STREAM is aligned and bypasses the caches, V_STREAM_END orders it
 *   V_INVARIANT(x)     what a rotation needs to know of x and leaves unchanged (which bytes are letters)
 *   V_ROTATE(x, k)     one rotation of the letters of x, k = V_INVARIANT(x)
 *   V_HITS(a, b)       mask of the i where a[i], b[i] are the two bytes of a candidate
 *   V_LOW_BIT(mask)    place of the lowest bit of 64; of none, any place at all
 *   V_EQ(x, byte)      mask of the i where x[i] is the byte
 *   V_MARKUP(x)        a vector of the classes of tables.h
 *   V_IN(c, bits)      mask of the i where c[i], of V_MARKUP, has one of the bits
 *   V_SPACE(x)         mask of the i where x[i] is white space
 *   V_TOP(x)           mask of the i where x[i] is 0x80 or above
 *   V_OUTER(x)         mask of the i where x[i] is 0x80 or above, or below 0x20
 *
 * Every function is static and carries the target attribute itself: nothing else in the extension may be
 * compiled for more than the baseline, or importing it would crash older machines.
 */

#define XEP419_BLOCK 64

/* rotate(n):
 *   load the last vector before anything is stored      -- so that dst may be src
 *   rotate whole vectors, four at a time, then one
 *   store the last vector over whatever the loop left
 *
 * The last vector overlaps the one before it: cheaper than a scalar tail, and exact, because it was loaded
 * before the loop rotated those bytes.
 */
#define XEP419_ROTATE_BODY(TURN)                                                                          \
    if (n < VW) {                                                                                         \
        uint8_t block[VW];                                                                                \
        for (size_t i = 0; i < n; i++)                                                                    \
            block[i] = src[i];                                                                            \
        for (size_t i = n; i < VW; i++)                                                                   \
            block[i] = 0;                                                                                 \
        V x = V_LOAD(block);                                                                              \
        TURN(x);                                                                                          \
        V_STORE(block, x);                                                                                \
        for (size_t i = 0; i < n; i++)                                                                    \
            dst[i] = block[i];                                                                            \
        return;                                                                                           \
    }                                                                                                     \
    V last = V_LOAD(src + n - VW);                                                                        \
    TURN(last);                                                                                           \
    size_t i = 0;                                                                                         \
    for (; i + 4 * VW <= n; i += 4 * VW) {                                                                \
        V a = V_LOAD(src + i), b = V_LOAD(src + i + VW);                                                  \
        V c = V_LOAD(src + i + 2 * VW), d = V_LOAD(src + i + 3 * VW);                                     \
        TURN(a);                                                                                          \
        TURN(b);                                                                                          \
        TURN(c);                                                                                          \
        TURN(d);                                                                                          \
        V_STORE(dst + i, a);                                                                              \
        V_STORE(dst + i + VW, b);                                                                         \
        V_STORE(dst + i + 2 * VW, c);                                                                     \
        V_STORE(dst + i + 3 * VW, d);                                                                     \
    }                                                                                                     \
    for (; i + VW < n; i += VW) {                                                                         \
        V x = V_LOAD(src + i);                                                                            \
        TURN(x);                                                                                          \
        V_STORE(dst + i, x);                                                                              \
    }                                                                                                     \
    V_STORE(dst + n - VW, last);

#define XEP419_ONCE(x)                                                                                    \
    do {                                                                                                  \
        V_KEEP k = V_INVARIANT(x);                                                                        \
        (void)k;                                                                                          \
        x = V_ROTATE(x, k);                                                                               \
    } while (0)

#define XEP419_TWICE(x)                                                                                   \
    do {                                                                                                  \
        V_KEEP k = V_INVARIANT(x);                                                                        \
        (void)k;                                                                                          \
        x = V_ROTATE(x, k);                                                                               \
        x = V_ROTATE(x, k);                                                                               \
    } while (0)

XEP419_TARGET static void XEP419_FN(rotate_once)(uint8_t *dst, const uint8_t *src, size_t n)
{
    XEP419_ROTATE_BODY(XEP419_ONCE)
}

XEP419_TARGET static void XEP419_FN(rotate_twice)(uint8_t *dst, const uint8_t *src, size_t n)
{
    XEP419_ROTATE_BODY(XEP419_TWICE)
}

/* Up to the first aligned vector of dst and after the last one the plain kernel works. */
#define XEP419_STREAM_BODY(PLAIN, TURN)                                                                   \
    size_t head = (size_t)(-(uintptr_t)dst & (VW - 1));                                                   \
    if (n < head + 4 * VW) {                                                                              \
        PLAIN(dst, src, n);                                                                               \
        return;                                                                                           \
    }                                                                                                     \
    PLAIN(dst, src, head);                                                                                \
    size_t i = head;                                                                                      \
    for (; i + 4 * VW <= n; i += 4 * VW) {                                                                \
        V a = V_LOAD(src + i), b = V_LOAD(src + i + VW);                                                  \
        V c = V_LOAD(src + i + 2 * VW), d = V_LOAD(src + i + 3 * VW);                                     \
        TURN(a);                                                                                          \
        TURN(b);                                                                                          \
        TURN(c);                                                                                          \
        TURN(d);                                                                                          \
        V_STREAM(dst + i, a);                                                                             \
        V_STREAM(dst + i + VW, b);                                                                        \
        V_STREAM(dst + i + 2 * VW, c);                                                                    \
        V_STREAM(dst + i + 3 * VW, d);                                                                    \
    }                                                                                                     \
    V_STREAM_END();                                                                                       \
    PLAIN(dst + i, src + i, n - i);

XEP419_TARGET static void XEP419_FN(rotate_once_streaming)(uint8_t *dst, const uint8_t *src, size_t n)
{
    XEP419_STREAM_BODY(XEP419_FN(rotate_once), XEP419_ONCE)
}

XEP419_TARGET static void XEP419_FN(rotate_twice_streaming)(uint8_t *dst, const uint8_t *src, size_t n)
{
    XEP419_STREAM_BODY(XEP419_FN(rotate_twice), XEP419_TWICE)
}

XEP419_TARGET static void XEP419_FN(copy_loosely)(uint8_t *dst, const uint8_t *src, size_t n)
{
    for (size_t i = 0; i < n; i += XEP419_SLACK)
        for (size_t k = i; k < i + XEP419_SLACK; k += VW)
            V_STORE(dst + k, V_LOAD(src + k));
}

XEP419_TARGET static void XEP419_FN(rotate_twice_loosely)(uint8_t *dst, const uint8_t *src, size_t n)
{
    for (size_t i = 0; i < n; i += XEP419_BLOCK)
        for (size_t k = i; k < i + XEP419_BLOCK; k += VW) {
            V x = V_LOAD(src + k);
            XEP419_TWICE(x);
            V_STORE(dst + k, x);
        }
}

/* Mask of the candidates that begin in p[0, 64); reads p[0, 65). */
XEP419_TARGET static inline uint64_t XEP419_FN(block_hits)(const uint8_t *p)
{
    uint64_t hits = 0;
    for (size_t i = 0; i < XEP419_BLOCK; i += VW)
        hits |= (uint64_t)V_HITS(V_LOAD(p + i), V_LOAD(p + i + 1)) << i;
    return hits;
}

XEP419_TARGET static inline uint64_t XEP419_FN(block_eq)(const uint8_t *p, uint8_t byte)
{
    uint64_t found = 0;
    for (size_t i = 0; i < XEP419_BLOCK; i += VW)
        found |= (uint64_t)V_EQ(V_LOAD(p + i), byte) << i;
    return found;
}

XEP419_TARGET static size_t XEP419_FN(candidates)(const uint8_t *p, size_t n, uint32_t *at, size_t room,
                                                  size_t *searched)
{
    size_t count = 0, i = 0;
    for (; i + XEP419_BLOCK < n; i += XEP419_BLOCK) {
        uint64_t hits = XEP419_FN(block_hits)(p + i);
        if (room - count < XEP419_BLOCK) {
            *searched = i;
            return count;
        }
        /* two positions are written whether there are any or not: cheaper than guessing how many */
        uint64_t more = hits & (hits - 1);
        size_t all = count + (size_t)__builtin_popcountll(hits);
        at[count] = (uint32_t)i + V_LOW_BIT(hits);
        at[count + 1] = (uint32_t)i + V_LOW_BIT(more);
        more &= more - 1;
        for (count += 2; more; more &= more - 1)
            at[count++] = (uint32_t)i + V_LOW_BIT(more);
        count = all;
    }
    *searched = n ? n - 1 : 0;
    if (i + 1 < n) {
        uint8_t block[2 * XEP419_BLOCK] = {0};
        memcpy(block, p + i, n - i);
        uint64_t hits = XEP419_FN(block_hits)(block);
        if (room - count < XEP419_BLOCK) {
            *searched = i;
            return count;
        }
        for (; hits; hits &= hits - 1)
            at[count++] = (uint32_t)(i + (size_t)__builtin_ctzll(hits));
    }
    return count;
}

XEP419_TARGET static size_t XEP419_FN(last_lt)(const uint8_t *p, size_t floor, size_t end)
{
    while (end >= XEP419_BLOCK && end > floor) {
        size_t from = end - XEP419_BLOCK;
        uint64_t found = XEP419_FN(block_eq)(p + from, '<');
        if (from < floor)
            found &= ~(uint64_t)0 << (floor - from);
        if (found)
            return from + 63 - (size_t)__builtin_clzll(found);
        end = from;
    }
    while (end > floor)
        if (p[--end] == '<')
            return end;
    return XEP419_NOT_FOUND;
}

XEP419_TARGET static void XEP419_FN(tag_window)(const uint8_t *p, size_t n, size_t at,
                                                uint64_t masks[XEP419_MASKS])
{
    uint8_t block[XEP419_BLOCK];
    const uint8_t *from = p + at;
    unsigned past = 0;
    if (n - at < XEP419_BLOCK) {
        if (n >= XEP419_BLOCK) {
            /* the block that ends with the buffer holds the window: shift what comes before it out */
            past = (unsigned)(XEP419_BLOCK - (n - at));
            from = p + n - XEP419_BLOCK;
        } else {
            memset(block, 0, sizeof block);
            memcpy(block, p + at, n - at);
            from = block;
        }
    }
    uint64_t lt = 0, gt = 0, apos = 0, quot = 0;
    for (size_t i = 0; i < XEP419_BLOCK; i += VW) {
        V x = V_LOAD(from + i);
        lt |= (uint64_t)V_EQ(x, '<') << i;
        gt |= (uint64_t)V_EQ(x, '>') << i;
        apos |= (uint64_t)V_EQ(x, '\'') << i;
        quot |= (uint64_t)V_EQ(x, '"') << i;
    }
    masks[XEP419_ANY] = (lt | gt | apos | quot) >> past;
    masks[XEP419_APOS] = (apos | lt) >> past;
    masks[XEP419_QUOT] = (quot | lt) >> past;
}

XEP419_TARGET static void XEP419_FN(quote_sides)(const uint8_t *p, size_t n, size_t at,
                                                 uint64_t masks[XEP419_SIDES])
{
    /* At an end of the buffer the block is the one that ends there; what lies beyond the quote is shifted out. */
    unsigned before = at < XEP419_BLOCK ? (unsigned)(XEP419_BLOCK - at) : 0;
    const uint8_t *from = p + at - (XEP419_BLOCK - before);
    unsigned past = n - at - 1 < XEP419_BLOCK ? (unsigned)(XEP419_BLOCK - (n - at - 1)) : 0;
    const uint8_t *to = p + at + 1 - past;
    uint8_t quote = p[at], other = (uint8_t)(quote ^ '\'' ^ '"');
    uint64_t lt = 0, gt = 0, same = 0, different = 0, end = 0;
    for (size_t i = 0; i < XEP419_BLOCK; i += VW) {
        V x = V_LOAD(from + i), y = V_LOAD(to + i);
        lt |= (uint64_t)V_EQ(x, '<') << i;
        gt |= (uint64_t)V_EQ(x, '>') << i;
        same |= (uint64_t)V_EQ(x, quote) << i;
        different |= (uint64_t)V_EQ(x, other) << i;
        end |= (uint64_t)(V_EQ(y, '<') | V_EQ(y, quote)) << i;
    }
    masks[XEP419_BEFORE_LT] = lt << before;
    masks[XEP419_BEFORE_GT] = gt << before;
    masks[XEP419_BEFORE_SAME] = same << before;
    masks[XEP419_BEFORE_OTHER] = different << before;
    masks[XEP419_AFTER_END] = end >> past;
}

/* The masks of p[0, 64) to the first place of each row; returns the suspects. */
XEP419_TARGET static inline uint64_t XEP419_FN(classify_block)(const uint8_t *p, uint64_t *masks)
{
    uint64_t text = 0, value = 0, name = 0, space = 0, outer = 0;
    for (size_t i = 0; i < XEP419_BLOCK; i += VW) {
        V x = V_LOAD(p + i);
        V classes = V_MARKUP(x);
        text |= (uint64_t)V_IN(classes, XEP419_TEXT_BITS) << i;
        value |= (uint64_t)V_IN(classes, XEP419_VALUE_BITS) << i;
        name |= (uint64_t)(V_IN(classes, XEP419_NAME_BITS) | V_TOP(x)) << i;
        space |= (uint64_t)V_SPACE(x) << i;
        outer |= (uint64_t)V_OUTER(x) << i;
    }
    masks[XEP419_TEXT_END * XEP419_ROW] = text;
    masks[XEP419_VALUE_END * XEP419_ROW] = value;
    masks[XEP419_NAME_END * XEP419_ROW] = ~name;
    masks[XEP419_NOT_SPACE * XEP419_ROW] = ~space;
    masks[XEP419_SUSPECT * XEP419_ROW] = outer & ~space;
    return outer & ~space;
}

XEP419_TARGET static uint64_t XEP419_FN(classify)(const uint8_t *p, size_t n,
                                                  uint64_t masks[XEP419_ROWS * XEP419_ROW])
{
    uint64_t suspects = 0;
    size_t i = 0, left = n % XEP419_BLOCK;
    for (; i < n / XEP419_BLOCK; i++)
        suspects |= XEP419_FN(classify_block)(p + i * XEP419_BLOCK, masks + i);
    if (left) {
        uint8_t block[XEP419_BLOCK] = {0};
        memcpy(block, p + i * XEP419_BLOCK, left);
        (void)XEP419_FN(classify_block)(block, masks + i);
        for (size_t row = 0; row < XEP419_ROWS; row++)
            masks[row * XEP419_ROW + i] &= ((uint64_t)1 << left) - 1;
        suspects |= masks[XEP419_SUSPECT * XEP419_ROW + i];
        i++;
    }
    for (size_t row = 0; row < XEP419_ROWS; row++)
        for (size_t past = i; past < n / XEP419_BLOCK + 2; past++)
            masks[row * XEP419_ROW + past] = 0;
    return suspects != 0;
}

static const xep419_ops XEP419_FN(ops) = {
    XEP419_NAME,
    XEP419_FN(rotate_once),
    XEP419_FN(rotate_twice),
    XEP419_FN(rotate_once_streaming),
    XEP419_FN(rotate_twice_streaming),
    XEP419_FN(copy_loosely),
    XEP419_FN(rotate_twice_loosely),
    XEP419_FN(candidates),
    XEP419_FN(last_lt),
    XEP419_FN(tag_window),
    XEP419_FN(quote_sides),
    XEP419_FN(classify),
};

#undef XEP419_BLOCK
#undef XEP419_ROTATE_BODY
#undef XEP419_ONCE
#undef XEP419_TWICE
#undef XEP419_STREAM_BODY
#undef XEP419_NAME
#undef XEP419_FN
#undef XEP419_TARGET
#undef V
#undef VW
#undef V_KEEP
#undef V_LOAD
#undef V_STORE
#undef V_STREAM
#undef V_STREAM_END
#undef V_INVARIANT
#undef V_ROTATE
#undef V_HITS
#undef V_LOW_BIT
#undef V_EQ
#undef V_MARKUP
#undef V_IN
#undef V_SPACE
#undef V_TOP
#undef V_OUTER
