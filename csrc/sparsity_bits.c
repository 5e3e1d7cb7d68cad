/* Sparsity patterns by bit vectors: a sweep for up to 512 inputs or outputs at once, one
 * bit for each on every node. Costs the same however dense the pattern, and so is what
 * index sets (sparsity_sets.c) fall back on; for a few inputs or outputs it is quickest.
 *
 * The Hessian comes from the second-order sweep on bits: T(v), the inputs that v depends
 * on, goes forward; R(v), those that the adjoint of v depends on, comes back:
 *
 *     R(a) |= R(v)   for each argument a of v,
 *     R(a) |= T(b)   if the second partial of v in a and b is not always 0,
 *
 * and row i of the Hessian is R(input i). No cliques are formed, so a product of sums
 * costs no more than its nodes. Griewank and Walther, Evaluating Derivatives (2nd ed.,
 * 2008), section 7.2. */
#include <string.h>

#include "buffer.h"
#include "sparsity.h"

enum { WORD_BITS = 64, MOST_WORDS = 8 };

/* Inlined where `words` is a constant, so that each width has loops of its own. */
#if defined(__GNUC__)
#define INLINED static inline __attribute__((always_inline))
#else
#define INLINED static inline
#endif

typedef struct {
    const pyad_stretch *stretch;
    size_t words;       /* of a node: 1, 2, 4 or 8 */
    uint64_t *bits;     /* T, or R of a reverse Jacobian sweep */
    uint64_t *adjoints; /* R of a Hessian */
    uint8_t *live;      /* nodes on which the output of a Hessian depends */
} sweep;

static size_t words_for(size_t count)
{
    size_t words = 1;
    while (words < MOST_WORDS && words * WORD_BITS < count)
        words *= 2;
    return words;
}

static uint64_t *new_bits(const pyad_stretch *s, size_t words)
{
    size_t bytes = words * sizeof(uint64_t);
    return s->count > SIZE_MAX / 4 / bytes ? NULL : pyad_buffer_new(s->count * bytes);
}

/* ---- sweeps ----------------------------------------------------------------------- */

INLINED void join(size_t words, uint64_t *restrict to, const uint64_t *restrict from)
{
    for (size_t w = 0; w < words; w++)
        to[w] |= from[w];
}

INLINED int is_empty(size_t words, const uint64_t *bits)
{
    uint64_t any = 0;
    for (size_t w = 0; w < words; w++)
        any |= bits[w];
    return !any;
}

INLINED void forward_words(const sweep *w, size_t words)
{
    const pyad_stretch *s = w->stretch;
    for (size_t v = 0; v < s->count; v++) {
        for (size_t k = s->first[v]; k < s->first[v + 1]; k++) {
            uint32_t a = pyad_active_argument(s, v, k);
            if (a != NO_NODE)
                join(words, w->bits + v * words, w->bits + a * words);
        }
    }
}

INLINED void reverse_words(const sweep *w, size_t words)
{
    const pyad_stretch *s = w->stretch;
    for (size_t v = s->count; v-- > 0;) {
        if (is_empty(words, w->bits + v * words))
            continue;
        for (size_t k = s->first[v]; k < s->first[v + 1]; k++) {
            uint32_t a = pyad_active_argument(s, v, k);
            if (a != NO_NODE)
                join(words, w->bits + a * words, w->bits + v * words);
        }
    }
}

/* The second term of R: every argument with every other, or in pairs. */
INLINED void cross(const sweep *w, size_t words, size_t v, int curved)
{
    const pyad_stretch *s = w->stretch;
    const size_t start = s->first[v], end = s->first[v + 1];
    if (curved == PYAD_CURVED) {
        uint64_t all[MOST_WORDS] = {0};
        for (size_t k = start; k < end; k++)
            if (pyad_argument(s, k) != NO_NODE)
                join(words, all, w->bits + pyad_argument(s, k) * words);
        for (size_t k = start; k < end; k++)
            if (pyad_argument(s, k) != NO_NODE)
                join(words, w->adjoints + pyad_argument(s, k) * words, all);
        return;
    }
    for (size_t k = start; k < end; k += 2) {
        const uint32_t a = pyad_argument(s, k);
        const uint32_t b = k + 1 < end ? pyad_argument(s, k + 1) : NO_NODE;
        if (a != NO_NODE && curved & PYAD_CURVED_AA)
            join(words, w->adjoints + a * words, w->bits + a * words);
        if (b != NO_NODE && curved & PYAD_CURVED_BB)
            join(words, w->adjoints + b * words, w->bits + b * words);
        if (a != NO_NODE && b != NO_NODE && curved & PYAD_CURVED_AB) {
            join(words, w->adjoints + a * words, w->bits + b * words);
            join(words, w->adjoints + b * words, w->bits + a * words);
        }
    }
}

INLINED void second_words(const sweep *w, size_t words)
{
    const pyad_stretch *s = w->stretch;
    forward_words(w, words);
    for (size_t v = s->count; v-- > 0;) {
        if (!w->live[v])
            continue;
        const int curved = pyad_curvature(s, v);
        if (curved)
            cross(w, words, v, curved);
        if (is_empty(words, w->adjoints + v * words))
            continue;
        for (size_t k = s->first[v]; k < s->first[v + 1]; k++) {
            uint32_t a = pyad_active_argument(s, v, k);
            if (a != NO_NODE)
                join(words, w->adjoints + a * words, w->adjoints + v * words);
        }
    }
}

#define WITH_CONSTANT_WORDS(SWEEP, W)                                                    \
    switch ((W)->words) {                                                                \
    case 1:                                                                              \
        SWEEP(W, 1);                                                                     \
        break;                                                                           \
    case 2:                                                                              \
        SWEEP(W, 2);                                                                     \
        break;                                                                           \
    case 4:                                                                              \
        SWEEP(W, 4);                                                                     \
        break;                                                                           \
    default:                                                                             \
        SWEEP(W, MOST_WORDS);                                                            \
    }

static void forward(const sweep *w) { WITH_CONSTANT_WORDS(forward_words, w) }
static void reverse(const sweep *w) { WITH_CONSTANT_WORDS(reverse_words, w) }
static void second(const sweep *w) { WITH_CONSTANT_WORDS(second_words, w) }

/* ---- seeds and results ------------------------------------------------------------ */

/* Number start + i gets bit i, as far as the words reach; returns where the next block
 * starts. */
static size_t seed(const sweep *w, size_t start, size_t count, const uint32_t *nodes)
{
    size_t room = w->words * WORD_BITS, end = count - start < room ? count : start + room;
    memset(w->bits, 0, w->stretch->count * w->words * sizeof *w->bits);
    for (size_t j = start; j < end; j++)
        if (nodes[j] != NO_NODE)
            w->bits[nodes[j] * w->words + (j - start) / WORD_BITS] |=
                (uint64_t)1 << (j - start) % WORD_BITS;
    return end;
}

/* A run for `line`: the numbers whose bits node v has. */
static int read_bits(const sweep *w, const uint64_t *bits, uint32_t v, size_t start,
                     size_t line, pyad_runs *runs)
{
    size_t length = 0;
    if (v == NO_NODE)
        return PYAD_OK;
    for (size_t i = 0; i < w->words; i++) {
        uint64_t word = bits[v * w->words + i];
        int status = word ? pyad_list_reserve(&runs->entries, WORD_BITS) : PYAD_OK;
        if (status)
            return status;
        for (size_t j = start + i * WORD_BITS; word; word >>= 1, j++) {
            runs->entries.items[runs->entries.count] = (uint32_t)j;
            runs->entries.count += word & 1;
            length += word & 1;
        }
    }
    return pyad_runs_close(runs, line, length);
}

/* ---- patterns --------------------------------------------------------------------- */

int pyad_jacobian_by_bits(const pyad_stretch *s, size_t outputs, const uint32_t *nodes,
                          int *transposed, pyad_runs *runs)
{
    *transposed = outputs < s->inputs;
    const size_t seeds = *transposed ? outputs : s->inputs;
    const size_t lines = *transposed ? s->inputs : outputs;
    const uint32_t *from = *transposed ? nodes : s->nodes;
    const uint32_t *to = *transposed ? s->nodes : nodes;
    sweep w = {.stretch = s, .words = words_for(seeds)};
    w.bits = new_bits(s, w.words);
    int status = w.bits ? PYAD_OK : PYAD_ERROR_NO_MEMORY;
    for (size_t start = 0, end; start < seeds && !status; start = end) {
        end = seed(&w, start, seeds, from);
        if (*transposed)
            reverse(&w);
        else
            forward(&w);
        for (size_t i = 0; i < lines && !status; i++)
            status = read_bits(&w, w.bits, to[i], start, i, runs);
    }
    pyad_buffer_release(w.bits);
    return status;
}

static void find_live(const pyad_stretch *s, uint32_t output, uint8_t *live)
{
    memset(live, 0, s->count);
    live[output] = 1;
    for (size_t v = (size_t)output + 1; v-- > 0;) {
        for (size_t k = s->first[v]; live[v] && k < s->first[v + 1]; k++) {
            uint32_t a = pyad_active_argument(s, v, k);
            if (a != NO_NODE)
                live[a] = 1;
        }
    }
}

int pyad_hessian_by_bits(const pyad_stretch *s, uint32_t output, pyad_runs *runs)
{
    sweep w = {.stretch = s, .words = words_for(s->inputs)};
    w.bits = new_bits(s, w.words);
    w.adjoints = new_bits(s, w.words);
    w.live = pyad_buffer_new(s->count);
    int status = w.bits && w.adjoints && w.live ? PYAD_OK : PYAD_ERROR_NO_MEMORY;
    if (!status)
        find_live(s, output, w.live);
    for (size_t start = 0, end; start < s->inputs && !status; start = end) {
        end = seed(&w, start, s->inputs, s->nodes);
        memset(w.adjoints, 0, s->count * w.words * sizeof *w.adjoints);
        second(&w);
        for (size_t i = 0; i < s->inputs && !status; i++)
            status = read_bits(&w, w.adjoints, s->nodes[i], start, i, runs);
    }
    pyad_buffer_release(w.bits);
    pyad_buffer_release(w.adjoints);
    pyad_buffer_release(w.live);
    return status;
}
