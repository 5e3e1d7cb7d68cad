/* Frames: stretches of a recording that transforms make and leave; see frame.c.
 *
 *   frame.c           entering, leaving, aliases; the table of functions
 *   frame_gradient.c  native sweeps
 *   frame_record.c    recorded sweeps, flat vectors */
#pragma once
#include "array.h"

static inline int is_array_like(PyObject *x) { return is_array(x) || PyArray_Check(x); }

/* ---- frame.c ---------------------------------------------------------------------- */

/* 0, or -1 with an exception. */
int frame_enter(TapeObject *tape, thread_state *thread);
/* Leave the innermost frame; what it recorded stays if `keep`. */
void frame_leave(TapeObject *tape, thread_state *thread, int keep);
/* True if the innermost frame used something from outside that requires a gradient. */
int frame_is_open(const TapeObject *tape);
/* The tape, borrowed, if a frame of it is open; NULL with an exception. */
TapeObject *frame_check(PyObject *tape);
/* A variable of its own for a number, an Array for an array, which begins at node *start.
 */
PyObject *frame_alias(TapeObject *tape, PyObject *x);
PyObject *frame_array_alias(TapeObject *tape, PyObject *x, uint32_t *start);

/* ---- frame_gradient.c ------------------------------------------------------------- */

/* A result of a recording that has ended, which must not count as a constant. */
int frame_is_stale(const VarObject *y);
/* Room for so many numbers, which hold anything; NULL with an exception. */
double *frame_scratch(TapeObject *tape, size_t count);
/* Under detect_anomaly: -1 with an exception if an adjoint in the rows of a sweep from
 * `from` on, or a tangent of a node, is not finite. */
int frame_check_adjoints(TapeObject *tape, size_t from, const double *rows);
int frame_check_tangent(TapeObject *tape, size_t from, const double *rows, uint32_t node);
/* Adjoints of the innermost frame for a seed of y, in tape->scratch from row 1 on: 0, or
 * -1 with an exception. A result that is no node of the frame does not depend on it. */
int frame_sweep(TapeObject *tape, PyObject *y, double seed);
/* The adjoints of `count` nodes in the scratch, as a flat ndarray; count -1: as a float.
 */
PyObject *frame_adjoint(const TapeObject *tape, uint32_t node, npy_intp count);
PyObject *frame_gradient(PyObject *module, PyObject *args);
PyObject *frame_slope(PyObject *module, PyObject *const *args, Py_ssize_t count,
                      PyObject *names);

/* ---- frame_record.c --------------------------------------------------------------- */

/* A handle of what was recorded last, a float for a constant: new reference. Scalar nodes
 * may refer to it, also if it is one of an array. */
PyObject *frame_handle_of(TapeObject *tape, pyad_operand x);
PyObject *frame_at(PyObject *module, PyObject *args);
PyObject *frame_flat(PyObject *module, PyObject *args);
PyObject *frame_record_reverse(PyObject *module, PyObject *args);
PyObject *frame_record_forward(PyObject *module, PyObject *args);
PyObject *frame_copy(PyObject *module, PyObject *args);
PyObject *frame_expand(PyObject *module, PyObject *args);
PyObject *frame_array_leaves(PyObject *module, PyObject *tape);
