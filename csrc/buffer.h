/* The one door to the allocator: counted buffers, so that a view can hold an array that
 * its tape has left behind. A buffer is a pointer to its bytes; the count stands in front
 * of them. */
#pragma once
#include <stddef.h>

/* A new buffer with one reference, or NULL. */
void *pyad_buffer_new(size_t bytes);
/* One more reference. NULL is fine. */
void *pyad_buffer_retain(void *buffer);
/* One reference less; the last one frees. NULL is fine. */
void pyad_buffer_release(const void *buffer);
/* True if somebody else holds it too: then its bytes must neither move nor change. */
int pyad_buffer_is_shared(const void *buffer);
/* Make room for `bytes`, keeping the first `used`. Takes over the reference to `buffer`
 * (NULL is fine) and returns the one to the result; on failure NULL, and `buffer` is as
 * it was. */
void *pyad_buffer_resize(void *buffer, size_t used, size_t bytes);
