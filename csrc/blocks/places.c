/* A layout written out number by number, for what goes through a tape node by node. */
#include <string.h>

#include "../buffer.h"
#include "block.h"

double *pyad_layout_places(const pyad_layout *layout, size_t extent)
{
    const size_t size = pyad_layout_size(layout);
    double *places = size > SIZE_MAX / 2 / sizeof *places - extent
                         ? NULL
                         : pyad_buffer_new((size + extent + 1) * sizeof *places);
    if (!places)
        return NULL;
    for (size_t i = 0; i < extent; i++)
        places[size + i] = (double)i;
    pyad_layout_read(layout, places + size, places);
    return places;
}

/* Sorted by counting: the numbers of a place keep their order. */
static void sort(size_t size, size_t extent, const double *places, pyad_groups g)
{
    memset(g.first, 0, (extent + 2) * sizeof *g.first);
    for (size_t i = 0; i < size; i++)
        g.first[(size_t)places[i] + 2]++;
    for (size_t i = 2; i < extent + 2; i++)
        g.first[i] += g.first[i - 1];
    for (size_t i = 0; i < size; i++)
        g.numbers[g.first[(size_t)places[i] + 1]++] = i;
}

int pyad_layout_group(const pyad_layout *layout, size_t extent, pyad_groups *groups)
{
    const size_t size = pyad_layout_size(layout);
    double *places = pyad_layout_places(layout, extent);
    size_t *first = places ? pyad_buffer_new((extent + 2 + size) * sizeof *first) : NULL;
    *groups = (pyad_groups){first, first ? first + extent + 2 : NULL};
    if (first)
        sort(size, extent, places, *groups);
    pyad_buffer_release(places);
    return first ? PYAD_OK : PYAD_ERROR_NO_MEMORY;
}
