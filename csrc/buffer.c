/* Counted buffers: see buffer.h. Sizes are checked here, once. */
#include "buffer.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    _Alignas(16) atomic_size_t references;
} header;

static header *header_of(const void *buffer)
{
    return (header *)((uintptr_t)buffer - sizeof(header));
}

void *pyad_buffer_new(size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    header *head = malloc(sizeof(header) + bytes);
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
    if (!pyad_buffer_is_shared(buffer)) {
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
