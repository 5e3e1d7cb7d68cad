/* The store of sets: see index_sets.h. A union is collected behind the last set, without
 * order and without duplicates by marks; if such a set exists already it is dropped
 * again. The hash of a set is a sum over its elements, so that their order does not
 * matter. */
#include "index_sets.h"

#include <string.h>

#include "buffer.h"

enum { FIRST_BUCKETS = 1024 };

int pyad_sets_open(pyad_sets *sets, size_t universe, size_t most_work,
                   size_t most_elements)
{
    *sets = (pyad_sets){
        .universe = universe, .most_work = most_work, .most_elements = most_elements};
    if (most_elements > UINT32_MAX - universe)
        sets->most_elements = UINT32_MAX - universe;
    sets->bucket_count = FIRST_BUCKETS;
    sets->buckets = pyad_buffer_new(FIRST_BUCKETS * sizeof *sets->buckets);
    sets->marks = pyad_buffer_new(universe * sizeof *sets->marks);
    if (!sets->buckets || !sets->marks || pyad_list_push(&sets->begin, 0) ||
        pyad_list_push(&sets->begin, 0) || pyad_list_push(&sets->hashes, 0) ||
        pyad_list_push(&sets->marked, 0)) {
        pyad_sets_free(sets);
        return PYAD_ERROR_NO_MEMORY;
    }
    memset(sets->buckets, 0, FIRST_BUCKETS * sizeof *sets->buckets);
    memset(sets->marks, 0, universe * sizeof *sets->marks);
    return PYAD_OK;
}

void pyad_sets_free(pyad_sets *sets)
{
    pyad_buffer_release(sets->elements.items);
    pyad_buffer_release(sets->begin.items);
    pyad_buffer_release(sets->hashes.items);
    pyad_buffer_release(sets->marked.items);
    pyad_buffer_release(sets->buckets);
    pyad_buffer_release(sets->marks);
    *sets = (pyad_sets){0};
}

/* ---- finding a set ---------------------------------------------------------------- */

/* The last step of MurmurHash3 (Appleby): neighbours must not give sums that coincide. */
static uint32_t mixed(uint32_t x)
{
    x = (x ^ x >> 16) * 0x85ebca6bu;
    x = (x ^ x >> 13) * 0xc2b2ae35u;
    return x ^ x >> 16;
}

/* Whether `set` has just the `count` numbers that carry the stamp of this union. */
static int has_marked(const pyad_sets *sets, uint32_t set, size_t count)
{
    const uint32_t *elements = pyad_set_elements(sets, set);
    if (pyad_set_size(sets, set) != count)
        return 0;
    for (size_t k = 0; k < count; k++)
        if (sets->marks[elements[k]] != sets->stamp)
            return 0;
    return 1;
}

static int grow_buckets(pyad_sets *sets)
{
    size_t count = 2 * sets->bucket_count;
    uint32_t *buckets = pyad_buffer_new(count * sizeof *buckets);
    if (!buckets)
        return PYAD_ERROR_NO_MEMORY;
    memset(buckets, 0, count * sizeof *buckets);
    for (uint32_t set = 1; set < sets->hashes.count; set++) {
        size_t place = sets->hashes.items[set] & (count - 1);
        while (buckets[place])
            place = (place + 1) & (count - 1);
        buckets[place] = set;
    }
    pyad_buffer_release(sets->buckets);
    sets->buckets = buckets;
    sets->bucket_count = count;
    return PYAD_OK;
}

/* The name of the `count` numbers behind the last set; kept there if they are new. */
static int intern(pyad_sets *sets, size_t count, uint32_t *set)
{
    size_t begin = sets->begin.items[sets->hashes.count], mask = sets->bucket_count - 1;
    uint32_t hash = 0;
    for (size_t k = 0; k < count; k++)
        hash += mixed(sets->elements.items[begin + k]);
    size_t place = hash & mask;
    for (; (*set = sets->buckets[place]) != 0; place = (place + 1) & mask) {
        if (sets->hashes.items[*set] == hash && has_marked(sets, *set, count)) {
            sets->elements.count = begin;
            return PYAD_OK;
        }
    }
    if (pyad_list_reserve(&sets->hashes, 1) || pyad_list_reserve(&sets->begin, 1) ||
        pyad_list_reserve(&sets->marked, 1))
        return PYAD_ERROR_NO_MEMORY;
    *set = sets->buckets[place] = (uint32_t)sets->hashes.count;
    sets->hashes.items[sets->hashes.count++] = hash;
    sets->marked.items[sets->marked.count++] = sets->stamp;
    sets->begin.items[sets->begin.count++] = (uint32_t)sets->elements.count;
    return 2 * sets->hashes.count > sets->bucket_count ? grow_buckets(sets) : PYAD_OK;
}

/* ---- a union ---------------------------------------------------------------------- */

void pyad_sets_open_union(pyad_sets *sets)
{
    sets->stamp++;
    sets->only = 0;
    sets->largest = 0;
    sets->elements.count = sets->begin.items[sets->hashes.count];
}

static int copy_elements(pyad_sets *sets, uint32_t set)
{
    size_t count = pyad_set_size(sets, set);
    int status = pyad_list_reserve(&sets->elements, count);
    if (status)
        return status;
    const uint32_t *from = pyad_set_elements(sets, set);
    uint32_t *to = sets->elements.items + sets->elements.count;
    for (size_t k = 0; k < count; k++) {
        if (sets->marks[from[k]] == sets->stamp)
            continue;
        sets->marks[from[k]] = sets->stamp;
        *to++ = from[k];
    }
    sets->elements.count = (size_t)(to - sets->elements.items);
    sets->work += count;
    return PYAD_OK;
}

/* The first set is not copied until there is a second one: most nodes share the set of
 * their only argument. */
static int copy_only(pyad_sets *sets)
{
    uint32_t set = sets->only;
    sets->only = 0;
    return set ? copy_elements(sets, set) : PYAD_OK;
}

int pyad_sets_add(pyad_sets *sets, uint32_t set)
{
    if (set == 0 || sets->marked.items[set] == sets->stamp)
        return PYAD_OK;
    sets->marked.items[set] = sets->stamp;
    if (pyad_set_size(sets, sets->largest) == sets->universe)
        return PYAD_OK;
    int first =
        sets->only == 0 && sets->elements.count == sets->begin.items[sets->hashes.count];
    if (pyad_set_size(sets, set) > pyad_set_size(sets, sets->largest))
        sets->largest = set;
    if (first) {
        sets->only = set;
        return PYAD_OK;
    }
    int status = copy_only(sets);
    return status ? status : copy_elements(sets, set);
}

int pyad_sets_add_number(pyad_sets *sets, uint32_t number)
{
    int status = copy_only(sets);
    if (status || sets->marks[number] == sets->stamp)
        return status;
    sets->marks[number] = sets->stamp;
    return pyad_list_push(&sets->elements, number);
}

int pyad_sets_close_union(pyad_sets *sets, uint32_t *set)
{
    size_t begin = sets->begin.items[sets->hashes.count];
    size_t count = sets->elements.count - begin;
    *set = sets->only ? sets->only : sets->largest;
    if (sets->only || count == pyad_set_size(sets, sets->largest)) {
        sets->elements.count = begin;
        return PYAD_OK;
    }
    if (sets->work > sets->most_work || sets->elements.count > sets->most_elements)
        return PYAD_SETS_FULL;
    return intern(sets, count, set);
}
