/* Star colourings of symmetric patterns, for Hessians: of the entries (i, j) and (j, i)
 * one can be read off from the sweep of its colour, and stands for both. Often that takes
 * far fewer colours than a colouring in which every entry can be read off: 2 and not n
 * for an arrow. Coleman and More, Math. Program. 28 (1984); Gebremedhin, Manne and
 * Pothen, SIAM Review 47 (2005), section 4.
 *
 * A proper colouring is a star colouring if for every edge (v, w), as long as v has
 * several neighbours of the colour of w, v is the only neighbour of w in its colour:
 * otherwise there is a path of four vertices in two colours. v is the hub of a star then.
 * So it is enough to know of each vertex the colours around it, and of each colour
 * whether it is there once or several times. The algorithm of Gebremedhin, Tarafdar,
 * Manne and Pothen, SIAM J. Sci. Comput. 29 (2007), section 4, keeps the stars themselves
 * and looks at all vertices in distance 2; this looks at the colours in distance 1, and
 * so a vertex of very many neighbours costs no more than the others. */
#include <string.h>

#include "buffer.h"
#include "colouring.h"

enum {
    SEVERAL = UINT32_MAX, /* neighbours have this colour */
    LEAF = UINT32_MAX - 1 /* one has it, and is the hub of a star with this vertex */
};

/* What a vertex has seen: a slot for each colour around it. A vertex of at least n / 8
 * neighbours is dense: its slots are indexed by colour, and it has two sets of colours,
 * of all that it has seen and of those that are LEAF. */
typedef struct {
    const pyad_pattern *graph;
    uint32_t *colours; /* of a vertex, or NO_COLOUR */
    size_t *slots;     /* of a vertex: where they start */
    uint32_t *used;    /* of a vertex that is not dense: how many there are */
    uint32_t *seen;    /* of a slot: the colour */
    uint32_t *who;     /* of a slot: the one neighbour of this colour, SEVERAL or LEAF */
    size_t *slot_of;   /* of a colour: its slot at the vertex looked at, if not dense */
    size_t *sets;      /* of a dense vertex: where in `forbidden`, or 0 */
    size_t words;      /* of a set */
    uint64_t *forbidden; /* a set; behind it those of the dense vertices */
} stars;

static void stars_free(stars *s)
{
    pyad_buffer_release(s->slots);
    pyad_buffer_release(s->used);
    pyad_buffer_release(s->seen);
    pyad_buffer_release(s->who);
    pyad_buffer_release(s->slot_of);
    pyad_buffer_release(s->sets);
    pyad_buffer_release(s->forbidden);
}

static int stars_new(stars *s, const pyad_pattern *graph, uint32_t *colours)
{
    size_t n = graph->rows, slots = 0, words = n / 64 + 1, bits = words;
    *s = (stars){.graph = graph, .colours = colours, .words = words};
    s->slots = pyad_buffer_new(n * sizeof *s->slots);
    s->sets = pyad_buffer_new(n * sizeof *s->sets);
    s->slot_of = pyad_buffer_new(n * sizeof *s->slot_of);
    s->used = pyad_new_items(n, 0);
    for (size_t v = 0; s->slots && s->sets && v < n; v++) {
        int dense = pyad_degree(graph, v) > n / 8 && n > 64;
        s->slots[v] = slots;
        s->sets[v] = dense ? bits : 0;
        slots += dense ? n : pyad_degree(graph, v);
        bits += dense ? 2 * words : 0;
    }
    s->seen = pyad_new_items(slots, 0);
    s->who = pyad_new_items(slots, 0);
    s->forbidden = (uint64_t *)pyad_new_items(2 * bits, 0);
    if (s->slots && s->sets && s->slot_of && s->used && s->seen && s->who && s->forbidden)
        return PYAD_OK;
    stars_free(s);
    return PYAD_ERROR_NO_MEMORY;
}

/* ---- slots ------------------------------------------------------------------------- */

/* Of a vertex, or the place for it if it is new. */
static size_t find_slot(const stars *s, size_t vertex, uint32_t colour)
{
    size_t slot = s->slots[vertex], end = slot + s->used[vertex];
    if (s->sets[vertex])
        return slot + colour;
    while (slot < end && s->seen[slot] != colour)
        slot++;
    return slot;
}

static int is_new(const stars *s, size_t vertex, size_t slot, uint32_t colour)
{
    return s->sets[vertex] ? !pyad_has_colour(s->forbidden + s->sets[vertex], colour)
                           : slot == s->slots[vertex] + s->used[vertex];
}

static void write_slot(stars *s, size_t vertex, size_t slot, uint32_t colour,
                       uint32_t who)
{
    s->used[vertex] += is_new(s, vertex, slot, colour) && !s->sets[vertex];
    s->seen[slot] = colour;
    s->who[slot] = who;
    if (s->sets[vertex]) {
        pyad_use_colour(s->forbidden + s->sets[vertex], colour);
        if (who == LEAF)
            pyad_use_colour(s->forbidden + s->sets[vertex] + s->words, colour);
    }
}

/* Look at v: its slots are found at once then. */
static void look_at(stars *s, size_t v)
{
    for (size_t slot = s->slots[v], k = 0; k < s->used[v]; k++, slot++)
        s->slot_of[s->seen[slot]] = slot;
}

static size_t slot_here(const stars *s, size_t v, uint32_t colour)
{
    return s->sets[v] ? s->slots[v] + colour : s->slot_of[colour];
}

/* ---- greedy ------------------------------------------------------------------------ */

/* Forbid what a vertex has seen, or only what it has seen as a leaf. */
static void forbid_seen(stars *s, size_t vertex, int leaf_only, size_t count)
{
    if (s->sets[vertex]) {
        const uint64_t *set = s->forbidden + s->sets[vertex] + (leaf_only ? s->words : 0);
        for (size_t w = 0; w < (count + 63) / 64; w++)
            s->forbidden[w] |= set[w];
        return;
    }
    for (size_t slot = s->slots[vertex], k = 0; k < s->used[vertex]; k++, slot++)
        if (!leaf_only || s->who[slot] == LEAF)
            pyad_use_colour(s->forbidden, s->seen[slot]);
}

/* The smallest colour for v, which is looked at, that makes no path of four in two
 * colours. `count`: colours so far. */
static uint32_t star_colour(stars *s, size_t v, size_t count)
{
    const pyad_pattern *graph = s->graph;
    forbid_seen(s, v, 0, count);
    for (size_t k = graph->first[v]; k < graph->first[v + 1]; k++) {
        size_t w = graph->indices[k];
        if (w != v && s->colours[w] != NO_COLOUR)
            forbid_seen(s, w, s->who[slot_here(s, v, s->colours[w])] != SEVERAL, count);
    }
    return pyad_take_smallest(s->forbidden, count);
}

/* Neighbour w sees that v, which is looked at, has its colour now. */
static void tell_neighbour(stars *s, size_t v, size_t w)
{
    const uint32_t colour = s->colours[v], own = s->colours[w];
    const size_t slot = find_slot(s, w, colour);
    const size_t back = own == NO_COLOUR ? 0 : slot_here(s, v, own);
    if (is_new(s, w, slot, colour)) {
        int leaf = own != NO_COLOUR && s->who[back] == SEVERAL;
        write_slot(s, w, slot, colour, leaf ? (uint32_t)LEAF : (uint32_t)v);
        return;
    }
    const uint32_t other = s->who[slot];
    write_slot(s, w, slot, colour, SEVERAL);
    if (own == NO_COLOUR)
        return;
    write_slot(s, v, back, own, LEAF);
    if (other != SEVERAL)
        write_slot(s, other, find_slot(s, other, own), own, LEAF);
}

/* In a row with several entries of one colour each is read from the column of the row. */
static void choose_flips(stars *s, uint8_t *flips)
{
    const pyad_pattern *graph = s->graph;
    for (size_t v = 0; v < graph->rows; v++) {
        look_at(s, v);
        for (size_t k = graph->first[v]; k < graph->first[v + 1]; k++) {
            size_t w = graph->indices[k];
            flips[k] = w != v && s->who[slot_here(s, v, s->colours[w])] == SEVERAL;
        }
    }
}

static int star_in_order(const pyad_pattern *graph, const uint32_t *order,
                         uint32_t *colours, uint8_t *flips, size_t *count)
{
    stars s;
    int status = stars_new(&s, graph, colours);
    if (status)
        return status;
    memset(colours, 0xff, graph->rows * sizeof *colours);
    *count = 0;
    for (size_t i = 0; i < graph->rows; i++) {
        size_t v = order ? order[i] : i;
        look_at(&s, v);
        colours[v] = star_colour(&s, v, *count);
        *count = colours[v] >= *count ? colours[v] + 1u : *count;
        for (size_t k = graph->first[v]; k < graph->first[v + 1]; k++)
            if (graph->indices[k] != v)
                tell_neighbour(&s, v, graph->indices[k]);
    }
    choose_flips(&s, flips);
    stars_free(&s);
    return PYAD_OK;
}

/* By falling degree. */
static int order_vertices(const pyad_pattern *graph, uint32_t *order)
{
    size_t *weights = pyad_buffer_new(graph->rows * sizeof *weights);
    if (!weights)
        return PYAD_ERROR_NO_MEMORY;
    for (size_t v = 0; v < graph->rows; v++)
        weights[v] = pyad_degree(graph, v);
    int status = pyad_order_by_weight(graph->rows, weights, order);
    pyad_buffer_release(weights);
    return status;
}

/* By falling degree; and if fewer colours are possible without flips, so. */
static int improve(const pyad_pattern *pattern, uint32_t *colours, uint8_t *flips,
                   size_t *count, uint32_t *order, uint32_t *other, uint8_t *other_flips)
{
    size_t found;
    int status = order_vertices(pattern, order);
    if (!status)
        status = star_in_order(pattern, order, other, other_flips, &found);
    if (!status && found < *count) {
        *count = found;
        memcpy(colours, other, pattern->rows * sizeof *colours);
        memcpy(flips, other_flips, pattern->entries);
    }
    if (status || pyad_largest_degree(pattern) >= *count)
        return status;
    status = pyad_colour_columns(pattern, pattern, other, &found);
    if (!status && found < *count) {
        *count = found;
        memcpy(colours, other, pattern->rows * sizeof *colours);
        memset(flips, 0, pattern->entries);
    }
    return status;
}

int pyad_colour_hessian(const pyad_pattern *pattern, uint32_t *colours, uint8_t *flips,
                        size_t *count)
{
    if (pattern->entries == 0)
        return pyad_no_colours(pattern->rows, colours, count);
    int status = star_in_order(pattern, NULL, colours, flips, count);
    if (status || *count <= 2)
        return status;
    uint32_t *order = pyad_new_items(pattern->rows, 0);
    uint32_t *other = pyad_new_items(pattern->rows, 0);
    uint8_t *other_flips = pyad_buffer_new(pattern->entries);
    status = order && other && other_flips
                 ? improve(pattern, colours, flips, count, order, other, other_flips)
                 : PYAD_ERROR_NO_MEMORY;
    pyad_buffer_release(order);
    pyad_buffer_release(other);
    pyad_buffer_release(other_flips);
    return status;
}
