/* Frames: stretches of a recording that transforms make and leave; see frame.c.
 *
 *   frame.c           entering, leaving, aliases; the table of functions
 *   frame_tree.c      arguments that are lists, tuples and dicts of numbers and arrays
 *   frame_gradient.c  native sweeps, and grad(f)(x) as a whole
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

/* ---- frame_tree.c ----------------------------------------------------------------- */

enum tree_kind { TREE_NUMBER, TREE_ARRAY, TREE_LIST, TREE_TUPLE, TREE_NAMED, TREE_DICT };
enum { FEW_PARTS = 8, FEW_SIDES = 16 };

/* A leaf, or a branch, whose children follow it. */
typedef struct {
    enum tree_kind kind;
    int ndim;         /* of an array, */
    size_t shape;     /* and where in the tree's `sides` its lengths stand */
    uint32_t node;    /* the first of a leaf */
    Py_ssize_t count; /* of numbers in a leaf, of children of a branch */
    PyObject *held;   /* or NULL: the keys of a dict, a list; the type of a named tuple;
                         the derivative in a leaf, until it is built into a tree */
} tree_part;

typedef struct {
    tree_part *parts;
    Py_ssize_t *sides;
    size_t count, capacity, side_count, side_capacity;
    size_t numbers; /* in all leaves */
    tree_part few_parts[FEW_PARTS];
    Py_ssize_t few_sides[FEW_SIDES];
} frame_tree;

void frame_tree_init(frame_tree *t);
void frame_tree_free(frame_tree *t);
/* The same structure of variables of the innermost frame, which is added to the tree: a
 * new reference, or NULL with an exception. */
PyObject *frame_tree_read(frame_tree *t, TapeObject *tape, PyObject *x);
/* A tuple of the next `count` trees to be read: 0, or -1 with an exception. */
int frame_tree_open(frame_tree *t, Py_ssize_t count);
/* The nodes of all leaves, t->numbers of them. */
void frame_tree_nodes(const frame_tree *t, uint32_t *nodes);
/* What the leaves of the gradient are: the rows of a sweep, the first that of node
 * `from`; or operands in the order of the nodes. No code of the user runs. -1 with an
 * exception.
 */
int frame_tree_set_rows(frame_tree *t, const double *rows, size_t from);
int frame_tree_set_operands(frame_tree *t, TapeObject *tape, const pyad_operand *x);
/* The tree around the leaves that were set, once. */
PyObject *frame_tree_build(frame_tree *t);

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
PyObject *frame_slope(PyObject *module, PyObject *const *args, Py_ssize_t count);

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
