/* Checks every vector operation of one instruction set against plain C that shares nothing with it.
 *
 *     kernels NAME    exits with 0: no difference; 1: the first difference, or a read or write out of bounds;
 *                     2: wrong usage; 77: this machine cannot run NAME
 *
 * What csrc/ops.h promises is checked as it stands there: results, and that no byte outside the ranges given is read
 * or written. Buffers begin or end at a page that cannot be touched.
 *
 * Built with -DKERNELS_HEADER='"isa_X.h"' -DKERNELS_OPS=xep419_ops_X it holds that one instruction set and asks no
 * CPU: for intrinsics that are emulated.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef KERNELS_HEADER
#include "ops.h"
#include "tables.h"
#include KERNELS_HEADER
#else
#include "dispatch.h"
#endif

#define LONGEST 400     /* every length to here; the widest streaming loop runs from 64 + 4 * 64 - 1 bytes on */
#define OFFSETS 65      /* every place in a cache line and one more */
#define ROOM 1024       /* of the positions, at most */
#define AROUND 96       /* bytes looked at on both sides of what was written */
#define FILLER 0xA5

static const xep419_ops *ops;
static unsigned long long checks;

/* What is being checked, for the message. */
static const char *operation = "nothing";
static const char *place = "";
static size_t length, first_parameter, second_parameter;

static void describe(const char *what)
{
    fprintf(stderr, "%s %s: %s, n=%zu, %s, parameters %zu and %zu, after %llu checks\n", ops->name, operation, what,
            length, place, first_parameter, second_parameter, checks);
}

static _Noreturn void fail(const char *what)
{
    describe(what);
    exit(1);
}

/* The faulting access was made by the operation itself, never inside stdio: printing here is safe enough. */
static void on_fault(int number)
{
    describe(number == SIGILL ? "an instruction this machine lacks, or a trap" : "touched a byte out of bounds");
    _exit(1);
}

static _Noreturn void give_up(const char *what)
{
    perror(what);
    exit(2);
}

/* -- memory between two pages that cannot be touched ---------------------------------------------------------- */

typedef struct arena {
    uint8_t *start;
    uint8_t *end;
} arena;

static arena new_arena(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size = (size + page - 1) / page * page;
    uint8_t *block = mmap(NULL, size + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED)
        give_up("mmap");
    if (mprotect(block + page, size, PROT_READ | PROT_WRITE))
        give_up("mprotect");
    arena made = {block + page, block + page + size};
    memset(made.start, FILLER, size);
    return made;
}

/* Where n bytes begin that leave `offset` bytes to the page before or after them. */
static uint8_t *put(const arena *where, int at_end, size_t offset, size_t n)
{
    place = at_end ? "before a page" : "after a page";
    return at_end ? where->end - offset - n : where->start + offset;
}

/* Whether the bytes beside [p, p + n) still are filler; then the written ones are made filler again. */
static void check_around(const arena *where, uint8_t *p, size_t n)
{
    uint8_t *from = (size_t)(p - where->start) > AROUND ? p - AROUND : where->start;
    uint8_t *to = (size_t)(where->end - (p + n)) > AROUND ? p + n + AROUND : where->end;
    for (uint8_t *q = from; q < to; q++)
        if ((q < p || q >= p + n) && *q != FILLER)
            fail("wrote outside its target");
    memset(p, FILLER, n);
}

/* -- data ----------------------------------------------------------------------------------------------------- */

static uint64_t state = 419;

static uint64_t random_number(void)
{
    /* splitmix64 (Steele, Lea, Flood 2014) */
    uint64_t z = state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

enum { NOISE, DENSE, USUAL, LETTERS, KINDS };
#define DATA 9000

static uint8_t data[KINDS][DATA];

static void fill_data(void)
{
    static const char dense[] = "<>'\"!?hHuU&{F/=";
    static const char usual[] = "<message to='a@b.example' id=\"x\"><c xmlns='http://x' node='urn:xmpp:y'/>&#x68;\xC3\xA9";
    for (size_t i = 0; i < DATA; i++) {
        uint64_t number = random_number();
        data[NOISE][i] = (uint8_t)number;
        data[DENSE][i] = (uint8_t)dense[(number >> 8) % (sizeof dense - 1)];
        /* runs without markup, so that whole vectors hold none */
        data[USUAL][i] = (uint8_t)(i % 700 < 420 ? 'a' + number % 26 : (unsigned)usual[i % (sizeof usual - 1)]);
        data[LETTERS][i] = (uint8_t)("AaMmNnZz@[`{\x7F\x80\xC1\xE1"[number % 16]);
    }
}

/* -- what is right -------------------------------------------------------------------------------------------- */

static uint8_t rotated(uint8_t byte)
{
    static const char from[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    static const char to[] = "NOPQRSTUVWXYZABCDEFGHIJKLMnopqrstuvwxyzabcdefghijklm";
    const char *found = byte ? strchr(from, byte) : NULL;
    return found ? (uint8_t)to[found - from] : byte;
}

static int is_candidate(uint8_t first, uint8_t second)
{
    if (first == '<')
        return second == '!' || second == '?';
    return (first == '\'' || first == '"') && second && strchr("hHuU&{F", second);
}

/* -- rotations ------------------------------------------------------------------------------------------------ */

typedef struct rotation {
    const char *name;
    void (*run)(uint8_t *dst, const uint8_t *src, size_t n);
    const uint8_t *table;
    int in_place;
} rotation;

static uint8_t once[256], twice[256];
static arena source, target;

static void compare(const uint8_t *got, const uint8_t *given, const uint8_t *table, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (got[i] != table[given[i]]) {
            fprintf(stderr, "byte %zu: 0x%02X became 0x%02X, not 0x%02X\n", i, given[i], got[i], table[given[i]]);
            fail("wrong byte");
        }
    checks++;
}

static void rotate_apart(const rotation *r, const uint8_t *given, size_t n, int at_end, size_t src_at, size_t dst_at)
{
    length = n;
    first_parameter = src_at;
    second_parameter = dst_at;
    uint8_t *src = put(&source, at_end, src_at, n), *dst = put(&target, at_end, dst_at, n);
    memcpy(src, given, n);
    r->run(dst, src, n);
    compare(dst, given, r->table, n);
    if (memcmp(src, given, n))
        fail("changed its source");
    check_around(&target, dst, n);
    check_around(&source, src, n);
}

static void rotate_in_place(const rotation *r, const uint8_t *given, size_t n, int at_end, size_t offset)
{
    length = n;
    first_parameter = second_parameter = offset;
    uint8_t *buffer = put(&target, at_end, offset, n);
    place = at_end ? "in place before a page" : "in place after a page";
    memcpy(buffer, given, n);
    r->run(buffer, buffer, n);
    compare(buffer, given, r->table, n);
    check_around(&target, buffer, n);
}

/* Every byte value in every lane of the four vectors of a loop, and in the vector after it. */
static void rotate_every_byte(const rotation *r)
{
    uint8_t given[5 * 64 + 1];
    for (unsigned shift = 0; shift < 256; shift++) {
        for (size_t i = 0; i < sizeof given; i++)
            given[i] = (uint8_t)(i + shift);
        rotate_apart(r, given, sizeof given, 1, shift % OFFSETS, 0);
        rotate_apart(r, given, 1, 1, 0, 0);
    }
}

static void check_rotation(const rotation *r)
{
    operation = r->name;
    rotate_every_byte(r);
    for (size_t n = 0; n <= LONGEST; n++)
        for (size_t offset = 0; offset < OFFSETS; offset++) {
            const uint8_t *given = data[offset % 2 ? NOISE : LETTERS] + (n * OFFSETS + offset) % (DATA - LONGEST);
            rotate_apart(r, given, n, 1, offset, 0);
            rotate_apart(r, given, n, 1, 0, offset);
            rotate_apart(r, given, n, 0, OFFSETS - 1 - offset, offset);
            if (r->in_place) {
                rotate_in_place(r, given, n, 1, offset);
                rotate_in_place(r, given, n, 0, offset);
            }
        }
    for (size_t n = DATA; n > LONGEST; n -= 211)
        rotate_apart(r, data[NOISE] + (DATA - n), n, 1, n % OFFSETS, n % 63);
}

static void check_rotations(void)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        once[byte] = rotated((uint8_t)byte);
        twice[byte] = rotated(once[byte]);
    }
    const rotation all[] = {
        {"rotate_once", ops->rotate_once, once, 1},
        {"rotate_twice", ops->rotate_twice, twice, 1},
        {"rotate_once_streaming", ops->rotate_once_streaming, once, 0},
        {"rotate_twice_streaming", ops->rotate_twice_streaming, twice, 0},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        check_rotation(&all[i]);
}

/* -- candidates ----------------------------------------------------------------------------------------------- */

static arena positions;

/* All candidates of p[0, n), by as many calls as a list of `room` places needs. */
static void list_candidates(const uint8_t *p, size_t n, size_t room)
{
    uint32_t *at = (uint32_t *)(void *)positions.end - room;
    size_t from = 0, expected = 0;
    length = n;
    first_parameter = room;
    do {
        size_t left = n - from, searched = (size_t)-7, last = left ? left - 1 : 0;
        second_parameter = from;
        memset(at - AROUND / 4, FILLER, AROUND);
        size_t count = ops->candidates(p + from, left, at, room, &searched);
        for (size_t i = 1; i <= AROUND; i++)
            if (((uint8_t *)at)[-(ptrdiff_t)i] != FILLER)
                fail("wrote before its list");
        if (count > room || searched > last)
            fail("more positions, or more searched, than there is room for, or than there are bytes");
        if (searched < last && (room - count >= 64 || !searched))
            fail("stopped early without need, or without having searched at all");
        size_t listed = 0;
        for (size_t i = 0; i < searched; i++)
            if (is_candidate(p[from + i], p[from + i + 1]) && (listed == count || at[listed++] != i))
                fail("a candidate is missing or out of order");
        if (listed != count)
            fail("listed what is no candidate");
        expected += count;
        from += searched;
        checks++;
    } while (from + 1 < n);
    size_t all = 0;
    for (size_t i = 0; i + 1 < n; i++)
        all += (size_t)is_candidate(p[i], p[i + 1]);
    if (all != expected)
        fail("lost a candidate between two calls");
}

/* A sequence in which each pair of bytes stands once. */
static size_t write_pairs(uint8_t *to)
{
    size_t n = 0;
    for (unsigned first = 0; first < 256; first++) {
        to[n++] = (uint8_t)first;
        for (unsigned second = first + 1; second < 256; second++) {
            to[n++] = (uint8_t)first;
            to[n++] = (uint8_t)second;
        }
    }
    to[n++] = 0;
    return n;
}

static void check_candidates(void)
{
    operation = "candidates";
    static uint8_t pairs[1 << 17];
    size_t n = write_pairs(pairs);
    for (size_t offset = 0; offset < OFFSETS; offset++) {
        uint8_t *p = put(&source, 1, offset, n);
        memcpy(p, pairs, n);
        list_candidates(p, n, ROOM);
        list_candidates(p + offset, n - offset, 64 + offset);
    }
    static const size_t rooms[] = {64, 65, 66, 127, 128, 129, 200, ROOM};
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
        for (unsigned kind = 0; kind < KINDS; kind++) {
            uint8_t *p = put(&source, 1, i, DATA);
            memcpy(p, data[kind], DATA);
            list_candidates(p, DATA, rooms[i]);
        }
    for (n = 0; n <= LONGEST; n++)
        for (size_t offset = 0; offset < OFFSETS; offset++)
            for (int at_end = 0; at_end < 2; at_end++) {
                uint8_t *p = put(&source, at_end, offset, n);
                memcpy(p, data[(n + offset) % 4 ? DENSE : USUAL] + (n * OFFSETS + offset) % (DATA - LONGEST), n);
                list_candidates(p, n, offset % 8 ? ROOM : 64);
            }
}

/* -- last_lt -------------------------------------------------------------------------------------------------- */

static void check_last_lt_of(const uint8_t *p, size_t n)
{
    length = n;
    for (size_t floor = 0; floor <= n; floor++) {
        size_t expected = XEP419_NOT_FOUND;
        for (size_t i = floor; i < n; i++)
            if (p[i] == '<')
                expected = i;
        first_parameter = floor;
        second_parameter = expected;
        if (ops->last_lt(p, floor, n) != expected)
            fail("wrong position");
        checks++;
    }
}

static void check_last_lt(void)
{
    operation = "last_lt";
    for (size_t n = 0; n <= LONGEST; n++)
        for (int at_end = 0; at_end < 2; at_end++) {
            uint8_t *p = put(&source, at_end, 0, n);
            memcpy(p, data[n % 2 ? NOISE : USUAL] + n, n);
            check_last_lt_of(p, n);
        }
    /* one '<' at each place, behind it the bytes that differ from it in one bit */
    for (size_t n = 1; n <= 200; n++) {
        uint8_t *p = put(&source, (int)(n % 2), n % OFFSETS, n);
        for (size_t i = 0; i < n; i++)
            p[i] = (uint8_t)('<' ^ 1 << i % 8);
        for (size_t at = 0; at < n; at++) {
            uint8_t kept = p[at];
            p[at] = '<';
            check_last_lt_of(p, n);
            p[at] = kept;
        }
    }
}

/* -- tag_window ----------------------------------------------------------------------------------------------- */

static void check_tag_window_of(const uint8_t *p, size_t n, size_t at)
{
    uint64_t expected[XEP419_MASKS] = {0}, guarded[XEP419_MASKS + 2], *masks = guarded + 1;
    length = n;
    first_parameter = at;
    for (size_t i = at; i < n && i < at + 64; i++) {
        uint64_t bit = (uint64_t)1 << (i - at);
        expected[XEP419_ANY] |= p[i] == '<' || p[i] == '>' || p[i] == '\'' || p[i] == '"' ? bit : 0;
        expected[XEP419_APOS] |= p[i] == '\'' || p[i] == '<' ? bit : 0;
        expected[XEP419_QUOT] |= p[i] == '"' || p[i] == '<' ? bit : 0;
    }
    memset(guarded, FILLER, sizeof guarded);
    uint64_t filler = guarded[0];
    ops->tag_window(p, n, at, masks);
    if (guarded[0] != filler || guarded[XEP419_MASKS + 1] != filler)
        fail("wrote outside the masks");
    for (unsigned mask = 0; mask < XEP419_MASKS; mask++)
        if (masks[mask] != expected[mask]) {
            second_parameter = mask;
            fail("wrong mask");
        }
    checks++;
}

static void check_tag_window(void)
{
    operation = "tag_window";
    for (size_t n = 1; n <= LONGEST; n++)
        for (size_t offset = 0; offset < 4; offset++)
            for (int at_end = 0; at_end < 2; at_end++) {
                uint8_t *p = put(&source, at_end, offset * 21, n);
                memcpy(p, data[(n + offset) % 2 ? DENSE : NOISE] + n, n);
                for (size_t at = 0; at < n; at++)
                    check_tag_window_of(p, n, at);
            }
    /* every byte value in every lane */
    for (unsigned shift = 0; shift < 256; shift++) {
        uint8_t *p = put(&source, 1, shift % OFFSETS, 256);
        for (size_t i = 0; i < 256; i++)
            p[i] = (uint8_t)(i + shift);
        for (size_t at = 0; at < 256; at += 37)
            check_tag_window_of(p, 256, at);
    }
}

/* -- quote_sides ---------------------------------------------------------------------------------------------- */

static void check_quote_sides_of(const uint8_t *p, size_t n, size_t at)
{
    uint64_t expected[XEP419_SIDES] = {0}, guarded[XEP419_SIDES + 2], *masks = guarded + 1;
    length = n;
    first_parameter = at;
    for (size_t i = at < 64 ? 0 : at - 64; i < at; i++) {
        uint64_t bit = (uint64_t)1 << (63 - (at - 1 - i));
        int quote = p[i] == '\'' || p[i] == '"';
        expected[XEP419_BEFORE_LT] |= p[i] == '<' ? bit : 0;
        expected[XEP419_BEFORE_GT] |= p[i] == '>' ? bit : 0;
        expected[XEP419_BEFORE_SAME] |= quote && p[i] == p[at] ? bit : 0;
        expected[XEP419_BEFORE_OTHER] |= quote && p[i] != p[at] ? bit : 0;
    }
    for (size_t i = at + 1; i < n && i < at + 65; i++)
        expected[XEP419_AFTER_END] |= p[i] == '<' || p[i] == p[at] ? (uint64_t)1 << (i - at - 1) : 0;
    memset(guarded, FILLER, sizeof guarded);
    uint64_t filler = guarded[0];
    ops->quote_sides(p, n, at, masks);
    if (guarded[0] != filler || guarded[XEP419_SIDES + 1] != filler)
        fail("wrote outside the masks");
    for (unsigned mask = 0; mask < XEP419_SIDES; mask++)
        if (masks[mask] != expected[mask]) {
            second_parameter = mask;
            fail("wrong mask");
        }
    checks++;
}

static void check_quote_sides(void)
{
    operation = "quote_sides";
    for (size_t n = 64; n <= LONGEST; n++)
        for (size_t offset = 0; offset < 4; offset++)
            for (int at_end = 0; at_end < 2; at_end++) {
                uint8_t *p = put(&source, at_end, offset * 21, n);
                memcpy(p, data[(n + offset) % 2 ? DENSE : NOISE] + n, n);
                for (size_t at = 1; at < n - 1; at++) {
                    uint8_t kept = p[at];
                    p[at] = at % 2 ? '"' : '\'';
                    check_quote_sides_of(p, n, at);
                    p[at] = kept;
                }
            }
}

/* -- the loose operations ------------------------------------------------------------------------------------- */

static void check_loose_of(size_t n, int at_end, size_t offset, int rotates)
{
    size_t room = n + XEP419_SLACK;
    uint8_t *src = put(&source, at_end, offset, room), *dst = put(&target, at_end, offset % 7, room);
    length = n;
    first_parameter = offset;
    memcpy(src, data[NOISE] + n, room);
    memset(dst, FILLER, room);
    (rotates ? ops->rotate_twice_loosely : ops->copy_loosely)(dst, src, n);
    for (size_t i = 0; i < room; i++)
        if (dst[i] != src[i] && (i < n || dst[i] != FILLER))
            fail("wrong byte");
    check_around(&target, dst, room);
    checks++;
}

static void check_loose(void)
{
    for (int rotates = 0; rotates < 2; rotates++) {
        operation = rotates ? "rotate_twice_loosely" : "copy_loosely";
        for (size_t n = 0; n <= LONGEST; n++)
            for (size_t offset = 0; offset < 4; offset++)
                for (int at_end = 0; at_end < 2; at_end++)
                    check_loose_of(n, at_end, offset * 21, rotates);
    }
}

/* -- classify ------------------------------------------------------------------------------------------------- */

static int is_of_row(uint8_t byte, size_t row)
{
    const char *spaces = " \t\r\n", *name = "._:-";
    int space = byte && strchr(spaces, byte) != NULL;
    switch (row) {
    case XEP419_TEXT_END:
        return byte == '<' || byte == '>' || byte == '&';
    case XEP419_VALUE_END:
        return byte == '<' || byte == '&' || byte == '\'' || byte == '"';
    case XEP419_NAME_END:
        return !(byte >= 0x80 || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z')
                 || (byte >= '0' && byte <= '9') || (byte && strchr(name, byte)));
    case XEP419_NOT_SPACE:
        return !space;
    default:
        return byte >= 0x80 || (byte < 0x20 && !space);
    }
}

static void check_classify_of(const uint8_t *p, size_t n)
{
    enum { ALL = XEP419_ROWS * XEP419_ROW };
    static uint64_t guarded[ALL + 2];
    uint64_t *masks = guarded + 1, any = 0;
    length = n;
    memset(guarded, FILLER, sizeof guarded);
    uint64_t filler = guarded[0], answer = ops->classify(p, n, masks);
    if (guarded[0] != filler || guarded[ALL + 1] != filler)
        fail("wrote outside the masks");
    for (size_t row = 0; row < XEP419_ROWS; row++)
        for (size_t word = 0; word < XEP419_ROW; word++) {
            uint64_t expected = word < n / 64 + 2 ? 0 : filler;
            for (size_t i = word * 64; i < n && i < word * 64 + 64; i++)
                expected |= (uint64_t)is_of_row(p[i], row) << i % 64;
            if (masks[row * XEP419_ROW + word] != expected) {
                first_parameter = row;
                second_parameter = word;
                fail("wrong mask");
            }
            any |= row == XEP419_SUSPECT && word < n / 64 + 2 ? expected : 0;
        }
    if (!answer != !any)
        fail("wrong answer");
    checks++;
}

static void check_classify(void)
{
    operation = "classify";
    for (size_t n = 0; n <= LONGEST; n++)
        for (size_t offset = 0; offset < OFFSETS; offset += 7)
            for (int at_end = 0; at_end < 2; at_end++) {
                uint8_t *p = put(&source, at_end, offset, n);
                memcpy(p, data[(n + offset) % KINDS] + n, n);
                check_classify_of(p, n);
            }
    /* every byte value in every lane, and one alone among letters */
    for (unsigned shift = 0; shift < 256; shift++) {
        uint8_t *p = put(&source, 1, shift % OFFSETS, 319);
        for (size_t i = 0; i < 319; i++)
            p[i] = (uint8_t)(i + shift);
        check_classify_of(p, 319);
        memset(p, 'a', 319);
        p[shift] = (uint8_t)shift;
        check_classify_of(p, 319);
        p[shift] = 'a';
        p[318] = (uint8_t)shift;
        check_classify_of(p, 319);
    }
    for (size_t n = XEP419_PAGE - 65; n <= XEP419_PAGE; n++) {
        uint8_t *p = put(&source, 1, 0, n);
        for (size_t i = 0; i < n; i++)
            p[i] = data[DENSE][i % DATA];
        check_classify_of(p, n);
    }
}

/* -- which instruction set ------------------------------------------------------------------------------------ */

static const xep419_ops *find(const char *name)
{
#ifdef KERNELS_HEADER
    const xep419_ops *found[4] = {&KERNELS_OPS};
    size_t count = 1;
#else
    const xep419_ops *found[4];
    size_t count = xep419_detect(found);
#endif
    for (size_t i = 0; i < count; i++)
        if (!strcmp(found[i]->name, name))
            return found[i];
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s sse2|avx2|avx512|neon\n", argv[0]);
        return 2;
    }
    ops = find(argv[1]);
    if (!ops) {
        fprintf(stderr, "%s is not available here\n", argv[1]);
        return 77;
    }
    static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        signal(faults[i], on_fault);
    source = new_arena(1 << 17);
    target = new_arena(1 << 14);
    positions = new_arena((ROOM + AROUND) * sizeof(uint32_t));
    fill_data();
    check_rotations();
    check_candidates();
    check_last_lt();
    check_tag_window();
    check_quote_sides();
    check_loose();
    check_classify();
    printf("%s: %llu checks, no difference\n", ops->name, checks);
    return 0;
}
