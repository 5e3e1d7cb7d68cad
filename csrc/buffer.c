/* Counted buffers: see buffer.h. Sizes are checked here, once. */
#include "buffer.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __linux__
#include <sys/mman.h>
#endif

/* From here on a buffer lies on large pages, where the system has them on request: a
 * sweep over a large recording walks through all of it, and looking up small pages takes
 * as long as the numbers. */
#define LARGE_FROM ((size_t)4 << 20)
#define LARGE_PAGE ((size_t)2 << 20)

typedef struct {
    _Alignas(16) atomic_size_t references;
} header;

static header *header_of(const void *buffer)
{
    return (header *)((uintptr_t)buffer - sizeof(header));
}

#if defined(__linux__) && defined(MADV_HUGEPAGE)
static header *allocate(size_t bytes)
{
    if (bytes < LARGE_FROM)
        return malloc(bytes);
    bytes = (bytes + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
    header *head = aligned_alloc(LARGE_PAGE, bytes);
    if (head)
        madvise(head, bytes, MADV_HUGEPAGE); /* as well if it is refused */
    return head;
}
#else
static header *allocate(size_t bytes) { return malloc(bytes); }
#endif

void *pyad_buffer_new(size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    header *head = allocate(sizeof(header) + bytes);
    if (!head)
        return NULL;
    atomic_init(&head->references, 1);
    return head + 1;
}

void *pyad_buffer_retain(void *buffer)
{
    if (buffer)
        atomic_fetch_add(&header_of(buffer)->references, 1);
    return buffer;
}

void pyad_buffer_release(const void *buffer)
{
    if (buffer && atomic_fetch_sub(&header_of(buffer)->references, 1) == 1)
        free(header_of(buffer));
}

int pyad_buffer_is_shared(const void *buffer)
{
    return buffer && atomic_load(&header_of(buffer)->references) > 1;
}

void *pyad_buffer_resize(void *buffer, size_t used, size_t bytes)
{
    if (!buffer)
        return pyad_buffer_new(bytes);
    if (bytes > SIZE_MAX / 2)
        return NULL;
    if (!pyad_buffer_is_shared(buffer) && bytes < LARGE_FROM / 2) {
        header *head = realloc(header_of(buffer), sizeof(header) + bytes);
        return head ? head + 1 : NULL;
    }
    void *fresh = pyad_buffer_new(bytes);
    if (!fresh)
        return NULL;
    memcpy(fresh, buffer, used);
    pyad_buffer_release(buffer);
    return fresh;
}
