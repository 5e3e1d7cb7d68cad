/* Array: a mapping from positions to nodes that behaves as a NumPy array.
 *
 *   ArrayObject   shape, strides and offset of a view ...
 *   Storage       ... of numbers and the nodes that hold them, shared by all views of it
 *
 * So views alias as NumPy's do. A storage is one of
 *   constant   values                                CONSTANT_GENERATION
 *   leaf       values, gradient; a run of nodes      LEAF_GENERATION
 *              while it is registered on a tape
 *   run        nodes start, start + 1, ... of one block; the values are those of the
 *              tape until its recording ends, then a copy of them
 *   rows       values, and the node of each: what item assignment makes of any but a leaf
 * Structure (slices, transposes, item assignment) rearranges which node stands where and
 * has no derivative rules; only arithmetic makes nodes. */
#pragma once
#include "../blocks/pending.h"
#include "numpy_api.h"

typedef struct Storage Storage;
struct Storage {
    Py_ssize_t references;
    size_t size;
    uint64_t generation;
    TapeObject *tape; /* recorded: held; leaf: where registered, borrowed; or &no_tape */
    double *values;   /* counted buffer; NULL: on the tape, from node `start` on */
    uint32_t *rows;   /* counted buffer: node + 1 of each, 0 for a constant, ENDED_ROW;
                         NULL: a run, or no nodes */
    uint32_t start, block;  /* of a run, and of a registered leaf */
    Storage *older, *newer; /* in tape->runs: those whose values are on the tape */
    int lost;               /* there was no memory to copy the values to */
    PyObject *gradient;     /* leaf: ndarray or Array, or NULL */
    PyObject *name;         /* leaf: str or NULL */
    uint64_t version;       /* leaf: counts assignments to its value */
};

/* The row of a number whose recording has ended, in a storage that was assigned to since.
 */
#define ENDED_ROW UINT32_MAX

typedef struct {
    PyObject_VAR_HEAD Storage *storage;
    Py_ssize_t offset, size; /* in numbers */
    int ndim;
    int contiguous;
    Py_ssize_t sides[]; /* shape[ndim], strides[ndim], in numbers */
} ArrayObject;

extern PyTypeObject Array_Type;

static inline int is_array(const PyObject *x) { return Py_IS_TYPE(x, &Array_Type); }
static inline Py_ssize_t *array_shape(ArrayObject *a) { return a->sides; }
static inline Py_ssize_t *array_strides(ArrayObject *a) { return a->sides + a->ndim; }

/* Where the next element stands, in C order; `at` is an index that the caller set to 0.
 */
static inline Py_ssize_t next_place(ArrayObject *a, Py_ssize_t *at, Py_ssize_t place)
{
    for (int i = a->ndim; i-- > 0;) {
        place += array_strides(a)[i];
        if (++at[i] < array_shape(a)[i])
            break;
        place -= at[i] * array_strides(a)[i];
        at[i] = 0;
    }
    return place;
}

/* ---- storage.c -------------------------------------------------------------------- */

/* A new constant storage, values unset; NULL with an exception. */
Storage *storage_new(size_t size);
/* The storage of a block of `tape` (or of a part of it, from node `start` on), in the
 * recording in progress. */
Storage *storage_of_run(TapeObject *tape, uint32_t block, uint32_t start, size_t size);
void storage_release(Storage *s);
static inline Storage *storage_retain(Storage *s)
{
    s->references++;
    return s;
}
static inline int storage_is_recorded(const Storage *s)
{
    return s->generation >= FIRST_GENERATION;
}
/* Its numbers now; they may move when anything is recorded. */
static inline double *storage_values(const Storage *s)
{
    if (s->values)
        return s->values;
    if (s->block != PYAD_NO_BLOCK)
        pyad_block_values(s->tape->core, s->block);
    return s->tape->core->values + s->start;
}
/* True if its recording has ended. */
static inline int storage_is_ended(const Storage *s)
{
    return storage_is_recorded(s) && !tape_knows(s->tape, s->generation);
}
/* -1 with an exception if its recording has ended, or its values were lost. */
int storage_check(const Storage *s);
/* Nodes for a leaf on this tape: 0, or -1 with an exception. */
int storage_register(Storage *s, TapeObject *tape);
/* Give it rows and values of its own, so that single positions can be assigned. */
int storage_scatter(Storage *s);
/* Make it the run of a block again: every position has been assigned. */
void storage_become_run(Storage *s, TapeObject *tape, uint32_t block, uint32_t start);
/* Mark the blocks whose storages are alive: their adjoints may be asked for. */
void storages_hold(TapeObject *tape);
/* What made it, as a str for messages: "a leaf", or an operation. */
PyObject *storage_origin(const Storage *s);
/* Keep the values of all storages on the tape whose nodes are >= length, which are taken
 * back: these storages count as ended. */
void storages_settle(TapeObject *tape, size_t length);
/* Add adjoints into the gradient of a leaf; -1 with an exception. */
int storage_add_gradient(Storage *s, const double *adjoints);
void storages_unregister(TapeObject *tape, size_t length);

/* ---- array.c ---------------------------------------------------------------------- */

/* An array over a storage (taken over, also on failure); strides NULL: contiguous. */
ArrayObject *array_new(Storage *s, int ndim, const Py_ssize_t *shape,
                       const Py_ssize_t *strides, Py_ssize_t offset);
/* An array without elements; `tape` says where it was recorded, NULL for a constant. */
PyObject *array_empty(TapeObject *tape, int ndim, const Py_ssize_t *shape);
/* A contiguous array of a block just recorded; a Var if ndim is 0. */
PyObject *array_of_block(TapeObject *tape, uint32_t block, int ndim,
                         const Py_ssize_t *shape);
/* A Var for a node of a recording that the tape knows. */
PyObject *var_of_node(TapeObject *tape, uint64_t generation, double value, uint32_t node);
/* Anything as an Array: numbers, Vars, nested lists, object arrays; new reference. */
ArrayObject *array_from(PyObject *x, const char *what);
Py_ssize_t shape_size(int ndim, const Py_ssize_t *shape);
/* -1 with an exception if a shape computed from others has more numbers than can be. */
int shape_check(int ndim, const Py_ssize_t *shape);
/* Lengths, or strides, as a tuple. */
PyObject *shape_tuple(int ndim, const Py_ssize_t *sides);

/* ---- array_parts.c ---------------------------------------------------------------- */

/* An ndarray over memory as large as the storage, the part of it that the array shows. */
PyArrayObject *array_view_of(ArrayObject *a, int type, void *data);
/* One over the values, as they are now, and over the rows: not to be handed out. */
PyArrayObject *array_values_view(ArrayObject *a);
PyArrayObject *array_rows_view(ArrayObject *a);
/* The values as an ndarray of its own. */
PyObject *array_values(ArrayObject *a);
/* The part of the storage of `a` that an ndarray made of its values_view shows; NULL with
 * an exception, or *elsewhere = 1 and NULL if it shows other memory. */
PyObject *array_of_view(ArrayObject *a, PyArrayObject *view, int *elsewhere);
/* The variable at a place of the storage. */
PyObject *array_element(ArrayObject *a, Py_ssize_t place);
/* The elements of an array are going to be read as nodes of `tape`, on which a leaf
 * registers itself; NULL: as constants. -1 with an exception. */
int array_prepare_read(ArrayObject *a, TapeObject *tape);
/* Values (float64) and rows (uint32) of an array, as ndarrays of its shape; a leaf
 * registers itself on `tape`. Rows of a constant are NULL. -1 with an exception. */
int array_parts(ArrayObject *a, TapeObject *tape, PyArrayObject **values,
                PyArrayObject **rows);
/* An array of its own from such parts; rows NULL for a constant. */
PyObject *array_of_parts(TapeObject *tape, PyArrayObject *values, PyArrayObject *rows);
/* -1 with an exception if one of them is of a recording that has ended. */
int array_check_rows(size_t count, const uint32_t *rows);
/* A node is going to be referred to by itself: its block, if it has one, is marked. */
void array_mark_node(TapeObject *tape, uint32_t node);
void array_mark_rows(TapeObject *tape, size_t count, const uint32_t *rows);
/* The sum of nothing, as a variable: it depends on what the nothing was computed from. */
PyObject *var_of_empty_sum(TapeObject *tape);
/* An array of operands, a constant if all of them are. */
PyObject *array_of_operands(TapeObject *tape, int ndim, const Py_ssize_t *shape,
                            const pyad_operand *x);

/* ---- array_views.c ---------------------------------------------------------------- */

/* The place of each element of the array in the storage, counted from its first: int64,
 * of its shape. */
PyObject *array_positions_of(ArrayObject *a);
/* Read a shape, a tuple, into `sides`: how many, or -1 with an exception. */
int shape_read(PyObject *shape, Py_ssize_t *sides);

/* ---- array_attributes.c ----------------------------------------------------------- */

extern PyGetSetDef array_getset[];
/* The adjoints of its elements after a sweep of the tape, as an ndarray; of a leaf the
 * sum over all its registrations. */
PyObject *array_adjoints(ArrayObject *a, TapeObject *tape);

/* ---- array_operand.c -------------------------------------------------------------- */

/* One operand of an array operation. */
typedef struct {
    ArrayObject *array;   /* held, or NULL: a number or a variable */
    PyArrayObject *plain; /* held: an ndarray of floats, C-contiguous, or NULL */
    VarObject *var;       /* borrowed, or NULL */
    double number;
    int ndim;
    const Py_ssize_t *shape;
    int gathered;   /* its nodes, which stood one by one, are those of */
    uint32_t block; /* this block now */
} array_operand;

/* Operands, at most 2 for most; TAPE NULL: the result is a constant. */
typedef struct {
    const char *name; /* of the operation, for messages */
    size_t count;
    array_operand *x;
    TapeObject *tape;
    size_t length, arguments, leaf_count; /* of the tape before, to take back */
} array_operands;

/* Read one operand: 1, 0 if it is nothing that arrays know, -1 with an exception. */
int array_operand_read(array_operand *x, PyObject *given, const char *what);
void array_operand_release(array_operand *x);
/* Find the tape on which an operation on these operands is to be recorded. */
int array_operands_open(array_operands *o);
/* Take back what was recorded since. */
void array_operands_undo(array_operands *o);
/* The numbers of an operand as contiguous vector of the shape given, to which it
 * broadcasts; `scratch` is to be released after use. */
int array_operand_vector(array_operands *o, array_operand *x, int ndim,
                         const Py_ssize_t *shape, pyad_vector *v, void **scratch);
/* The operation was recorded: what was gathered for it serves the next one, too. */
void array_operands_keep(array_operands *o);
/* Under detect_anomaly: raise on a value of the block that is not finite, remember where
 * its nodes come from. `shapes` is a tuple of those of its results. */
int array_operands_watch(array_operands *o, uint32_t block, PyObject *shapes);
/* After the block was recorded: its handle, or everything is taken back. */
PyObject *array_operands_finish(array_operands *o, int status, uint32_t block, int ndim,
                                const Py_ssize_t *shape);
/* The common shape; -1 with an exception. */
int broadcast_shapes(size_t count, const array_operand *x, int *ndim, Py_ssize_t *shape);

/* ---- array_functions.c ------------------------------------------------------------ */

extern PyMethodDef array_methods[], array_functions[];

/* ---- array_operators.c ------------------------------------------------------------ */

/* An operation of the table on arrays and numbers; NotImplemented if it does not know an
 * operand. `y` NULL for one argument. */
PyObject *array_apply(int op, PyObject *x, PyObject *y);
PyObject *array_matmul(PyObject *x, PyObject *y);
/* A dual, or an ndarray of objects. */
int is_of_objects(PyObject *x);
extern PyNumberMethods array_as_number;
extern pyad_loops numpy_loops;
int numpy_loops_load(void);
/* The function of the OpenBLAS loaded that says on how many threads it runs; NULL where
 * there is none (blas.c). */
typedef int thread_count(void);
thread_count *openblas_threads(void);

/* ---- array_protocol.c ------------------------------------------------------------- */

PyObject *array_array_ufunc(PyObject *self, PyObject *args, PyObject *kwargs);
/* `Var.__array_function__`: an Array, unless duals or arrays of objects are among the
 * arguments. */
PyObject *handle_array_function(PyObject *self, PyObject *const *args, Py_ssize_t count);

/* ---- guards.c --------------------------------------------------------------------- */

/* Note that values of an array left the recording: 0, or -1 with an exception. */
int guard_read_array(const ArrayObject *a);
/* The outcomes of a comparison, element by element, which is kept: an ndarray of bools.
 * NULL without an exception if nothing in it is on a tape that guards. */
PyObject *guard_arrays(PyObject *x, PyObject *y, int comparison);

/* ---- array_index.c ---------------------------------------------------------------- */

PyObject *array_subscript(PyObject *self, PyObject *key);
int array_assign(PyObject *self, PyObject *key, PyObject *value);
/* Put the numbers of `value`, of the same shape, in the place of those of `a`. */
int array_store(ArrayObject *a, PyObject *value);

/* ---- array_take.c ----------------------------------------------------------------- */

/* a[key] for arrays of whole numbers in the leading dimensions: 1 with *result, or NULL
 * and an exception; 0 if the key is of another kind. */
int array_take(ArrayObject *a, PyObject *key, TapeObject *tape, PyObject **result);

/* ---- array_rule.c ----------------------------------------------------------------- */

PyObject *array_call(PyObject *module, PyObject *args);
/* _rule_error(): raise what a rule raised in a sweep that the binding ran. */
PyObject *array_rule_error(PyObject *module, PyObject *unused);
/* Raise what a rule raised within a sweep that has returned RULE_FAILED: 1, or 0. */
int rule_raise_pending(void);
