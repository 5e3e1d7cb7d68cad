/* On how many threads NumPy's OpenBLAS runs: asked of the library itself, so that the
 * answer follows OPENBLAS_NUM_THREADS, threadpoolctl and whatever else sets it. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* for dl_iterate_phdr */
#endif
#include "array.h"

#include <string.h>

#ifdef __linux__
#include <dlfcn.h>
#include <link.h>

static const char *const NAMES[] = {
    "scipy_openblas_get_num_threads64_",
    "scipy_openblas_get_num_threads",
    "openblas_get_num_threads64_",
    "openblas_get_num_threads",
};

/* Of each library loaded; ends with the first one that has the function. */
static int find_function(struct dl_phdr_info *info, size_t size, void *found)
{
    (void)size;
    if (!info->dlpi_name || !strstr(info->dlpi_name, "openblas"))
        return 0;
    void *library = dlopen(info->dlpi_name, RTLD_LAZY | RTLD_NOLOAD), *function = NULL;
    for (size_t i = 0; library && !function && i < sizeof NAMES / sizeof *NAMES; i++)
        function = dlsym(library, NAMES[i]);
    if (function)
        memcpy(found, &function, sizeof function);
    else if (library)
        dlclose(library); /* else it is held as long as this process */
    return function != NULL;
}

/* NumPy has been imported, and those who bring an OpenBLAS of their own import it first:
 * the first one is NumPy's. */
thread_count *openblas_threads(void)
{
    thread_count *found = NULL;
    dl_iterate_phdr(find_function, (void *)&found);
    return found;
}

#else

thread_count *openblas_threads(void) { return NULL; }

#endif
