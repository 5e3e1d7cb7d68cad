/* Dual, a number that carries its tangents: its derivatives along one or several
 * directions, so that forward mode needs no tape. An operation multiplies the tangents of
 * its operands by its partials; a tangent of 0 stays 0 whatever the partial, as in the
 * sweeps. A Dual never changes.
 *
 *   count     tangents in use, at least 1
 *   tangents  one, or else a whole number of blocks. Beyond `count` they are 0, and stay
 *             so by the rule above: loops run over whole blocks
 *   list      where its memory goes: the number of its blocks, 0 for one tangent
 *   level     whose tangents they are: 0 for the user's own, else the number of the
 *             transform that made them */
#pragma once
#include "handle.h"

enum {
    DUAL_BLOCK = 4,
    DUAL_LISTS = 10, /* one tangent, up to 4, 8, ... 32; the last list, always empty, is
                        that of all others */
    DUALS_KEPT = 1024
};

typedef struct {
    PyObject_HEAD
    double value;
    uint64_t level; /* on a free list: the next one */
    uint32_t count, list;
    double tangents[];
} DualObject;

typedef struct {
    DualObject *first;
    size_t count;
} dual_list;

extern dual_list free_duals[DUAL_LISTS];

/* ---- dual.c ----------------------------------------------------------------------- */

/* A Dual of the level and number of tangents of another one, for the caller to fill in:
 * from its free list, NULL if that is empty. */
static inline DualObject *dual_reuse(const DualObject *like)
{
    dual_list *list = &free_duals[like->list];
    DualObject *x = list->first;
    if (x) {
        list->first = (DualObject *)(uintptr_t)x->level;
        list->count--;
        Py_SET_REFCNT((PyObject *)x, 1);
        x->level = like->level;
        x->count = like->count;
    }
    return x;
}

/* The same, or a new one; NULL with an exception. */
DualObject *dual_like(const DualObject *like);
/* A Dual like another one, with this value and tangents of 0; NULL with an exception. */
PyObject *dual_flat(const DualObject *like, double value);

/* The methods of Dual; static storage. */
PyMethodDef *dual_methods(void);
extern PyMethodDef dual_functions[];

/* ---- dual_operators.c ------------------------------------------------------------- */

extern PyNumberMethods dual_as_number;
/* An operation of one or two operands (`y` may be NULL) among which is a Dual: as
 * apply_slowly. */
PyObject *dual_apply(int op, PyObject *x, PyObject *y);
/* An operation of any number of operands among which is a Dual; NULL with an exception.
 */
PyObject *dual_apply_many(int op, operands *o);
/* If the transform that made Duals of this level is running, ask it, by an exception, to
 * evaluate its function on the tape: -1. Otherwise 0. */
int dual_retrace(uint64_t level);
/* Raise that a Dual cannot take part in what goes on on a tape; always NULL. */
PyObject *dual_refuse(PyObject *x, const char *operation);
/* The result of such operands with value and partials given. */
PyObject *dual_given(operands *o, double value, const double *partials);
