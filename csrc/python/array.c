/* Array, the type: making, reading, its attributes. Its arithmetic is in
 * array_operators.c, indexing in array_index.c; what is rare is added by pyad/array. */
#include "array.h"

#include <string.h>

#include "../buffer.h"

/* ---- making ----------------------------------------------------------------------- */

Py_ssize_t shape_size(int ndim, const Py_ssize_t *shape)
{
    Py_ssize_t size = 1;
    for (int i = 0; i < ndim; i++)
        size *= shape[i];
    return size;
}

static int is_contiguous(int ndim, const Py_ssize_t *shape, const Py_ssize_t *strides)
{
    Py_ssize_t step = 1;
    for (int i = ndim; i-- > 0;) {
        if (shape[i] != 1 && strides[i] != step)
            return 0;
        step *= shape[i];
    }
    return 1;
}

ArrayObject *array_new(Storage *s, int ndim, const Py_ssize_t *shape,
                       const Py_ssize_t *strides, Py_ssize_t offset)
{
    ArrayObject *a = s ? PyObject_NewVar(ArrayObject, &Array_Type, 2 * ndim) : NULL;
    if (!a) {
        storage_release(s);
        return NULL;
    }
    a->storage = s;
    a->ndim = ndim;
    a->offset = offset;
    a->size = shape_size(ndim, shape);
    for (int i = 0; i < ndim; i++)
        array_shape(a)[i] = shape[i];
    Py_ssize_t step = 1;
    for (int i = ndim; i-- > 0; step *= shape[i])
        array_strides(a)[i] = strides ? strides[i] : step;
    a->contiguous = !strides || a->size == 0 || is_contiguous(ndim, shape, strides);
    return a;
}

static void array_dealloc(ArrayObject *a)
{
    storage_release(a->storage);
    PyObject_Free(a);
}

PyObject *var_of_node(TapeObject *tape, uint64_t generation, double value, uint32_t node)
{
    VarObject *x = var_allocate();
    if (!x)
        return PyErr_NoMemory();
    PyObject *result = var_finish(x, tape, value, node);
    x->generation = generation;
    return result;
}

PyObject *array_empty(TapeObject *tape, int ndim, const Py_ssize_t *shape)
{
    Storage *s = storage_new(0);
    if (s && tape) {
        s->rows = pyad_buffer_new(sizeof(uint32_t));
        s->tape = (TapeObject *)Py_NewRef((PyObject *)tape);
        s->generation = tape->generation;
        if (!s->rows) {
            storage_release(s);
            return raise_error(PYAD_ERROR_NO_MEMORY);
        }
    }
    return (PyObject *)array_new(s, ndim, shape, NULL, 0);
}

PyObject *array_of_block(TapeObject *tape, uint32_t block, int ndim,
                         const Py_ssize_t *shape)
{
    const pyad_block *b = &tape->core->blocks[block];
    if (ndim == 0)
        return var_of_node(tape, tape->generation, *pyad_block_values(tape->core, block),
                           b->start);
    Storage *s = storage_of_run(tape, block, b->start, b->count);
    return (PyObject *)array_new(s, ndim, shape, NULL, 0);
}

/* ---- views through NumPy ---------------------------------------------------------- */

static PyArrayObject *view_of_memory(ArrayObject *a, int type, void *data)
{
    npy_intp strides[NPY_MAXDIMS];
    npy_intp width = type == NPY_DOUBLE ? sizeof(double) : sizeof(uint32_t);
    for (int i = 0; i < a->ndim; i++)
        strides[i] = array_strides(a)[i] * width;
    return (PyArrayObject *)PyArray_New(&PyArray_Type, a->ndim, array_shape(a), type,
                                        strides, (char *)data + a->offset * width, 0,
                                        NPY_ARRAY_WRITEABLE, NULL);
}

PyArrayObject *array_values_view(ArrayObject *a)
{
    if (a->storage->lost)
        return (PyArrayObject *)raise_error(PYAD_ERROR_NO_MEMORY);
    return view_of_memory(a, NPY_DOUBLE, storage_values(a->storage));
}

static PyArrayObject *rows_view(ArrayObject *a)
{
    return view_of_memory(a, NPY_UINT32, a->storage->rows);
}

PyObject *array_values(ArrayObject *a)
{
    PyArrayObject *view = array_values_view(a);
    PyObject *copy = view ? PyArray_NewCopy(view, NPY_CORDER) : NULL;
    Py_XDECREF(view);
    return copy;
}

PyObject *array_of_view(ArrayObject *a, PyArrayObject *view, int *elsewhere)
{
    const double *start = storage_values(a->storage), *data = PyArray_DATA(view);
    Py_ssize_t strides[NPY_MAXDIMS];
    *elsewhere = 0;
    if (PyArray_SIZE(view) == 0)
        return (PyObject *)array_new(storage_retain(a->storage), PyArray_NDIM(view),
                                     PyArray_DIMS(view), NULL, 0);
    if (data < start || data >= start + a->storage->size ||
        PyArray_TYPE(view) != NPY_DOUBLE) {
        *elsewhere = 1;
        return NULL;
    }
    for (int i = 0; i < PyArray_NDIM(view); i++)
        strides[i] = PyArray_STRIDE(view, i) / (npy_intp)sizeof(double);
    return (PyObject *)array_new(storage_retain(a->storage), PyArray_NDIM(view),
                                 PyArray_DIMS(view), strides, data - start);
}

PyObject *array_element(ArrayObject *a, Py_ssize_t place)
{
    Storage *s = a->storage;
    thread_state *thread = thread_here();
    if (!thread || s->lost)
        return thread ? raise_error(PYAD_ERROR_NO_MEMORY) : NULL;
    double value = storage_values(s)[place];
    if (thread->no_grad || s->generation == CONSTANT_GENERATION)
        return guarding_tapes && guard_read_array(a) < 0
                   ? NULL
                   : var_new(value, CONSTANT_GENERATION);
    if (s->generation == LEAF_GENERATION) {
        if (storage_register(s, thread->tape) < 0)
            return NULL;
        pyad_block_mark(thread->tape->core, s->block);
        return var_of_node(thread->tape, thread->tape->generation, value,
                           s->start + (uint32_t)place);
    }
    if (!s->rows) {
        if (!storage_is_ended(s))
            pyad_block_mark(s->tape->core, s->block);
        return var_of_node(s->tape, s->generation, value, s->start + (uint32_t)place);
    }
    uint32_t row = s->rows[place];
    if (row == 0)
        return var_new(value, CONSTANT_GENERATION);
    return var_of_node(s->tape, row == ENDED_ROW ? FIRST_GENERATION : s->generation,
                       value, row - 1);
}

/* ---- parts ------------------------------------------------------------------------ */

int array_parts(ArrayObject *a, TapeObject *tape, PyArrayObject **values,
                PyArrayObject **rows)
{
    Storage *s = a->storage;
    *values = *rows = NULL;
    if (guarding_tapes && !tape && guard_read_array(a) < 0)
        return -1; /* what was recorded becomes constant */
    if (a->size && s->generation == LEAF_GENERATION && tape &&
        storage_register(s, tape) < 0)
        return -1;
    if (tape && storage_check(s) < 0)
        return -1;
    if (!(*values = (PyArrayObject *)array_values(a)))
        return -1;
    if (!tape || s->generation == CONSTANT_GENERATION)
        return 0;
    if (s->rows && a->size) {
        PyArrayObject *view = rows_view(a);
        *rows = view ? (PyArrayObject *)PyArray_NewCopy(view, NPY_CORDER) : NULL;
        Py_XDECREF(view);
    } else {
        *rows = (PyArrayObject *)PyArray_SimpleNew(a->ndim, array_shape(a), NPY_UINT32);
        uint32_t *row = *rows ? PyArray_DATA(*rows) : NULL;
        Py_ssize_t at[NPY_MAXDIMS] = {0}, place = a->offset;
        for (Py_ssize_t k = 0; row && k < a->size; k++) {
            row[k] = s->start + (uint32_t)place + 1;
            for (int i = a->ndim; i-- > 0;) {
                place += array_strides(a)[i];
                if (++at[i] < array_shape(a)[i])
                    break;
                place -= at[i] * array_strides(a)[i];
                at[i] = 0;
            }
        }
        if (row && a->size)
            pyad_block_mark(tape->core, s->block);
    }
    if (*rows)
        return 0;
    Py_CLEAR(*values);
    return -1;
}

/* The block of which rows are a run, one node after the other, or PYAD_NO_BLOCK. */
static uint32_t block_of_run(const pyad_tape *core, size_t size, const uint32_t *rows)
{
    if (size < 2 || !rows[0] || rows[size - 1] != rows[0] + (uint32_t)size - 1)
        return PYAD_NO_BLOCK;
    uint32_t block = pyad_tape_block_of(core, rows[0] - 1);
    if (block == PYAD_NO_BLOCK || rows[0] - 1 + size > (size_t)core->blocks[block].start +
                                                           core->blocks[block].count)
        return PYAD_NO_BLOCK;
    for (size_t i = 1; i < size; i++)
        if (rows[i] != rows[0] + (uint32_t)i)
            return PYAD_NO_BLOCK;
    return block;
}

PyObject *array_of_parts(TapeObject *tape, PyArrayObject *values, PyArrayObject *rows)
{
    size_t size = (size_t)PyArray_SIZE(values);
    const uint32_t *row = rows ? PyArray_DATA(rows) : NULL;
    uint32_t block = row ? block_of_run(tape->core, size, row) : PYAD_NO_BLOCK;
    if (block != PYAD_NO_BLOCK)
        return (PyObject *)array_new(storage_of_run(tape, block, row[0] - 1, size),
                                     PyArray_NDIM(values), PyArray_DIMS(values), NULL, 0);
    Storage *s = storage_new(size);
    if (!s)
        return NULL;
    memcpy(s->values, PyArray_DATA(values), size * sizeof(double));
    if (rows) {
        s->rows = pyad_buffer_new(size * sizeof(uint32_t));
        if (!s->rows) {
            storage_release(s);
            return raise_error(PYAD_ERROR_NO_MEMORY);
        }
        memcpy(s->rows, PyArray_DATA(rows), size * sizeof(uint32_t));
        s->tape = (TapeObject *)Py_NewRef((PyObject *)tape);
        s->generation = tape->generation;
    }
    return (PyObject *)array_new(s, PyArray_NDIM(values), PyArray_DIMS(values), NULL, 0);
}

void array_mark_node(TapeObject *tape, uint32_t node)
{
    uint32_t block = pyad_tape_block_of(tape->core, node);
    if (block != PYAD_NO_BLOCK)
        pyad_block_mark(tape->core, block);
}

void array_mark_rows(TapeObject *tape, size_t count, const uint32_t *rows)
{
    const pyad_tape *core = tape->core;
    uint32_t start = 1, end = 0; /* rows of the block marked last */
    for (size_t i = 0; i < count; i++) {
        if (rows[i] == 0 || rows[i] == ENDED_ROW || (rows[i] >= start && rows[i] < end))
            continue;
        uint32_t block = pyad_tape_block_of(core, rows[i] - 1);
        if (block == PYAD_NO_BLOCK)
            continue;
        pyad_block_mark(tape->core, block);
        start = core->blocks[block].start + 1;
        end = start + core->blocks[block].count;
    }
}

PyObject *array_of_operands(TapeObject *tape, int ndim, const Py_ssize_t *shape,
                            const pyad_operand *x)
{
    PyObject *values = PyArray_SimpleNew(ndim, (npy_intp *)shape, NPY_DOUBLE);
    PyObject *rows = PyArray_SimpleNew(ndim, (npy_intp *)shape, NPY_UINT32);
    PyObject *result = NULL;
    if (values && rows) {
        double *value = PyArray_DATA((PyArrayObject *)values);
        uint32_t *row = PyArray_DATA((PyArrayObject *)rows);
        Py_ssize_t count = shape_size(ndim, shape);
        int any = 0;
        for (Py_ssize_t i = 0; i < count; i++) {
            value[i] = x[i].value;
            row[i] = x[i].node == PYAD_CONSTANT ? 0 : x[i].node + 1;
            any |= row[i] != 0;
        }
        if (any)
            array_mark_rows(tape, (size_t)count, row);
        result = array_of_parts(tape, (PyArrayObject *)values,
                                any ? (PyArrayObject *)rows : NULL);
    }
    Py_XDECREF(values);
    Py_XDECREF(rows);
    return result;
}

/* ---- pyad.array ------------------------------------------------------------------- */

/* Numbers as a new C-contiguous ndarray of floats; object arrays, subclasses of ndarray
 * and lists with variables are for the Python layer, an Array is its result then. */
ArrayObject *array_from(PyObject *x, const char *what)
{
    static PyObject *convert;
    if (is_array(x))
        return (ArrayObject *)Py_NewRef(x);
    if (PyArray_CheckExact(x) && PyArray_ISNUMBER((PyArrayObject *)x) &&
        !PyArray_ISCOMPLEX((PyArrayObject *)x)) {
        PyArrayObject *floats = (PyArrayObject *)PyArray_FROMANY(
            x, NPY_DOUBLE, 0, 0, NPY_ARRAY_CARRAY_RO | NPY_ARRAY_FORCECAST);
        PyObject *result = floats ? array_of_parts(NULL, floats, NULL) : NULL;
        Py_XDECREF(floats);
        return (ArrayObject *)result;
    }
    if (!python_function(&convert, "pyad.array._convert", "as_array"))
        return NULL;
    PyObject *made = PyObject_CallFunction(convert, "Os", x, what);
    if (made && !is_array(made)) {
        Py_DECREF(made);
        return (ArrayObject *)raise_not_a_number(what, x);
    }
    return (ArrayObject *)made;
}

static PyObject *array_type_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"object", "requires_grad", "name", NULL};
    PyObject *given, *name = Py_None;
    int requires_grad = 1;
    (void)type;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|pO:array", names, &given,
                                     &requires_grad, &name))
        return NULL;
    if (name != Py_None && !PyUnicode_Check(name))
        return raise_error(PYAD_ERROR_ARGUMENTS, "the name of an array is a string");
    ArrayObject *from = array_from(given, "pyad.array");
    if (!from)
        return NULL;
    if (storage_is_recorded(from->storage) ||
        from->storage->generation == LEAF_GENERATION) {
        int lost = !requires_grad || from->storage->generation == LEAF_GENERATION;
        if (!lost && name != Py_None) {
            Py_DECREF(from);
            return raise_error(
                PYAD_ERROR_ARGUMENTS,
                "an array made of variables has no name: only leaves have");
        }
        if (!lost) { /* made of variables: it depends on them */
            PyObject *copy = from == (ArrayObject *)given
                                 ? PyObject_CallMethod(given, "copy", NULL)
                                 : Py_NewRef((PyObject *)from);
            Py_DECREF(from);
            return copy;
        }
    }
    PyArrayObject *values = (PyArrayObject *)array_values(from);
    PyObject *result = values ? array_of_parts(NULL, values, NULL) : NULL;
    Py_XDECREF(values);
    Py_DECREF(from);
    if (result && requires_grad)
        ((ArrayObject *)result)->storage->generation = LEAF_GENERATION;
    if (result && name != Py_None)
        ((ArrayObject *)result)->storage->name = Py_NewRef(name);
    return result;
}

/* ---- attributes ------------------------------------------------------------------- */

static PyObject *sides_tuple(int ndim, const Py_ssize_t *sides)
{
    PyObject *tuple = PyTuple_New(ndim);
    for (int i = 0; tuple && i < ndim; i++) {
        PyObject *side = PyLong_FromSsize_t(sides[i]);
        if (!side) {
            Py_DECREF(tuple);
            return NULL;
        }
        PyTuple_SET_ITEM(tuple, i, side);
    }
    return tuple;
}

static PyObject *get_shape(ArrayObject *a, void *closure)
{
    (void)closure;
    return sides_tuple(a->ndim, array_shape(a));
}

static PyObject *get_ndim(ArrayObject *a, void *closure)
{
    (void)closure;
    return PyLong_FromLong(a->ndim);
}

static PyObject *get_size(ArrayObject *a, void *closure)
{
    (void)closure;
    return PyLong_FromSsize_t(a->size);
}

static PyObject *get_dtype(ArrayObject *a, void *closure)
{
    (void)a, (void)closure;
    return (PyObject *)PyArray_DescrFromType(NPY_DOUBLE);
}

static PyObject *get_value(ArrayObject *a, void *closure)
{
    (void)closure;
    return guarding_tapes && guard_read_array(a) < 0 ? NULL : array_values(a);
}

PyObject *storage_origin(const Storage *s)
{
    if (!storage_is_recorded(s))
        return PyUnicode_FromString("a leaf");
    if (s->rows || storage_is_ended(s) || s->tape->busy)
        return PyUnicode_FromString("an array operation");
    return operation_of(s->tape->core, s->start);
}

/* The leaf leaves the recording that saw its old value: its next use registers the new
 * one. A view of a leaf assigns its part. */
static int set_value(ArrayObject *a, PyObject *value, void *closure)
{
    (void)closure;
    if (!value || storage_is_recorded(a->storage)) {
        PyObject *what = storage_origin(a->storage);
        raise_error(PYAD_ERROR_NOT_ASSIGNABLE, "value", message_text(what));
        Py_XDECREF(what);
        return -1;
    }
    ArrayObject *from = guarding_tapes && guard_read_array(a) < 0
                            ? NULL
                            : array_from(value, "Array.value");
    if (!from)
        return -1;
    int status = -1;
    if (from->storage->generation != CONSTANT_GENERATION) {
        raise_error(PYAD_ERROR_WOULD_LOSE_DERIVATIVE);
    } else if (from->ndim != a->ndim ||
               memcmp(array_shape(from), array_shape(a),
                      (size_t)a->ndim * sizeof(Py_ssize_t)) != 0) {
        PyObject *wanted = get_shape(a, NULL), *found = get_shape(from, NULL);
        PyObject *w = wanted ? PyObject_Repr(wanted) : NULL;
        PyObject *f = found ? PyObject_Repr(found) : NULL;
        if (w && f)
            raise_error(PYAD_ERROR_ARGUMENT_SHAPE, "the value of the array",
                        message_text(w), message_text(f));
        Py_XDECREF(wanted), Py_XDECREF(found), Py_XDECREF(w), Py_XDECREF(f);
    } else {
        PyArrayObject *to = array_values_view(a), *with = array_values_view(from);
        if (to && with)
            status = PyArray_CopyInto(to, with);
        Py_XDECREF(to);
        Py_XDECREF(with);
        a->storage->version++;
        a->storage->tape = &no_tape;
    }
    Py_DECREF(from);
    return status;
}

/* A flat ndarray over the whole storage as the view that `a` is of it. */
static PyObject *part_of(ArrayObject *a, PyObject *flat)
{
    npy_intp strides[NPY_MAXDIMS];
    for (int i = 0; i < a->ndim; i++)
        strides[i] = array_strides(a)[i] * (npy_intp)sizeof(double);
    char *data = PyArray_BYTES((PyArrayObject *)flat);
    PyObject *view = PyArray_New(&PyArray_Type, a->ndim, array_shape(a), NPY_DOUBLE,
                                 strides, data + a->offset * (npy_intp)sizeof(double), 0,
                                 NPY_ARRAY_WRITEABLE, NULL);
    if (view && PyArray_SetBaseObject((PyArrayObject *)view, Py_NewRef(flat)) < 0)
        Py_CLEAR(view);
    return view;
}

/* The adjoints of a run of nodes: stored the first time, then added. */
static void add_adjoints(const pyad_tape *core, uint32_t start, size_t size, double *sum,
                         int *stored)
{
    size_t known = start < core->adjoint_count ? core->adjoint_count - start : 0;
    known = known < size ? known : size;
    const double *from = core->adjoints + start + 1;
    if (!*stored && known)
        memcpy(sum, from, known * sizeof *sum);
    for (size_t i = 0; *stored && i < known; i++)
        sum[i] += from[i];
    if (!*stored)
        memset(sum + known, 0, (size - known) * sizeof *sum);
    *stored = 1;
}

PyObject *array_adjoints(ArrayObject *a, TapeObject *tape)
{
    Storage *s = a->storage;
    npy_intp size = (npy_intp)s->size;
    PyObject *flat = PyArray_SimpleNew(1, &size, NPY_DOUBLE);
    double *adjoint = flat ? PyArray_DATA((PyArrayObject *)flat) : NULL;
    int stored = 0;
    if (flat && s->generation == LEAF_GENERATION) {
        for (size_t i = 0; i < tape->array_leaf_count; i++)
            if (tape->array_leaves[i].storage == s)
                add_adjoints(tape->core, tape->array_leaves[i].start, s->size, adjoint,
                             &stored);
        if (!stored)
            memset(adjoint, 0, s->size * sizeof *adjoint);
    } else if (flat && s->rows) {
        for (npy_intp i = 0; i < size; i++)
            adjoint[i] = s->rows[i] && s->rows[i] != ENDED_ROW
                             ? pyad_tape_adjoint(tape->core, s->rows[i] - 1)
                             : 0;
    } else if (flat) {
        add_adjoints(tape->core, s->start, s->size, adjoint, &stored);
    }
    if (flat && a->contiguous && a->size == size) {
        PyArray_Dims sides = {array_shape(a), a->ndim};
        PyObject *shaped = PyArray_Newshape((PyArrayObject *)flat, &sides, NPY_CORDER);
        Py_DECREF(flat);
        return shaped;
    }
    PyObject *part = flat ? part_of(a, flat) : NULL;
    PyObject *copy = part ? PyArray_NewCopy((PyArrayObject *)part, NPY_CORDER) : NULL;
    Py_XDECREF(part);
    Py_XDECREF(flat);
    return copy;
}

/* The adjoints of a result after a sweep over its recording. */
static PyObject *adjoints_of(ArrayObject *a)
{
    Storage *s = a->storage;
    if (s->tape->busy)
        return raise_error(PYAD_ERROR_TAPE_BUSY);
    if (s->tape->adjoint_generation != s->generation || a->size == 0)
        Py_RETURN_NONE;
    return array_adjoints(a, s->tape);
}

static PyObject *get_grad(ArrayObject *a, void *closure)
{
    Storage *s = a->storage;
    (void)closure;
    if (guarding_tapes && guard_read_array(a) < 0)
        return NULL;
    if (storage_is_recorded(s))
        return adjoints_of(a);
    if (!s->gradient)
        Py_RETURN_NONE;
    if (!PyArray_Check(s->gradient)) {
        if (a->contiguous && (size_t)a->size == s->size)
            return PyObject_CallMethod(s->gradient, "reshape", "N", get_shape(a, NULL));
        return raise_error(PYAD_ERROR_ARGUMENTS,
                           "the gradient of a part of an array is a variable: take .grad "
                           "of the whole array and then its part");
    }
    return part_of(a, s->gradient);
}

static int set_grad(ArrayObject *a, PyObject *value, void *closure)
{
    static PyObject *checked;
    Storage *s = a->storage;
    (void)closure;
    if (!value || storage_is_recorded(s)) {
        PyObject *what = storage_origin(s);
        raise_error(PYAD_ERROR_NOT_ASSIGNABLE, "grad", message_text(what));
        Py_XDECREF(what);
        return -1;
    }
    if (value == Py_None) {
        Py_CLEAR(s->gradient);
        return 0;
    }
    if (!a->contiguous || (size_t)a->size != s->size) {
        raise_error(PYAD_ERROR_ARGUMENTS,
                    "the gradient of a part of an array cannot be assigned: assign that "
                    "of the whole array");
        return -1;
    }
    if (!python_function(&checked, "pyad.array._convert", "as_gradient"))
        return -1;
    PyObject *flat = PyObject_CallFunctionObjArgs(checked, a, value, NULL);
    if (!flat)
        return -1;
    Py_XSETREF(s->gradient, flat);
    return 0;
}

static PyObject *get_requires_grad(ArrayObject *a, void *closure)
{
    (void)closure;
    return PyBool_FromLong(a->storage->generation != CONSTANT_GENERATION);
}

static int set_requires_grad(ArrayObject *a, PyObject *flag, void *closure)
{
    Storage *s = a->storage;
    (void)closure;
    int truth = flag ? PyObject_IsTrue(flag) : -1;
    if (truth < 0) {
        if (!PyErr_Occurred())
            raise_error(PYAD_ERROR_ARGUMENTS, "requires_grad cannot be deleted");
        return -1;
    }
    if (storage_is_recorded(s)) {
        if (truth)
            return 0;
        PyObject *what = storage_origin(s);
        raise_error(PYAD_ERROR_NOT_ASSIGNABLE, "requires_grad=False", message_text(what));
        Py_XDECREF(what);
        return -1;
    }
    s->generation = truth ? LEAF_GENERATION : CONSTANT_GENERATION;
    s->tape = &no_tape;
    return 0;
}

static PyObject *get_is_leaf(ArrayObject *a, void *closure)
{
    (void)closure;
    return PyBool_FromLong(!storage_is_recorded(a->storage));
}

static PyObject *get_name(ArrayObject *a, void *closure)
{
    (void)closure;
    return Py_NewRef(a->storage->name ? a->storage->name : Py_None);
}

static int set_name(ArrayObject *a, PyObject *name, void *closure)
{
    (void)closure;
    if (!name || (name != Py_None && !PyUnicode_Check(name)) ||
        storage_is_recorded(a->storage)) {
        raise_error(PYAD_ERROR_ARGUMENTS, "the name of an array is a string or None, and "
                                          "only leaves have names");
        return -1;
    }
    Py_XSETREF(a->storage->name, name == Py_None ? NULL : Py_NewRef(name));
    return 0;
}

static PyObject *get_tape(ArrayObject *a, void *closure)
{
    TapeObject *tape = a->storage->tape;
    (void)closure;
    return Py_NewRef(tape == &no_tape ? Py_None : (PyObject *)tape);
}

/* _strides, in numbers; _offset. */
static PyObject *get_strides(ArrayObject *a, void *closure)
{
    (void)closure;
    return sides_tuple(a->ndim, array_strides(a));
}

static PyObject *get_offset(ArrayObject *a, void *closure)
{
    (void)closure;
    return PyLong_FromSsize_t(a->offset);
}

static PyObject *get_is_ended(ArrayObject *a, void *closure)
{
    (void)closure;
    return PyBool_FromLong(storage_is_ended(a->storage));
}

static PyObject *get_transposed(ArrayObject *a, void *closure)
{
    Py_ssize_t sides[2 * NPY_MAXDIMS];
    (void)closure;
    for (int i = 0; i < a->ndim; i++) {
        sides[i] = array_shape(a)[a->ndim - 1 - i];
        sides[a->ndim + i] = array_strides(a)[a->ndim - 1 - i];
    }
    return (PyObject *)array_new(storage_retain(a->storage), a->ndim, sides,
                                 sides + a->ndim, a->offset);
}

PyGetSetDef array_getset[] = {
    {"shape", (getter)get_shape, NULL, "Lengths of the dimensions.", NULL},
    {"ndim", (getter)get_ndim, NULL, "Number of dimensions.", NULL},
    {"size", (getter)get_size, NULL, "Number of elements.", NULL},
    {"dtype", (getter)get_dtype, NULL, "float64, always.", NULL},
    {"T", (getter)get_transposed, NULL, "The transpose, a view.", NULL},
    {"value", (getter)get_value, (setter)set_value,
     "The numbers as an ndarray of their own; on a leaf it may be assigned.", NULL},
    {"grad", (getter)get_grad, (setter)set_grad,
     "The accumulated derivative, an ndarray; None before the first sweep.", NULL},
    {"requires_grad", (getter)get_requires_grad, (setter)set_requires_grad,
     "False for a constant.", NULL},
    {"is_leaf", (getter)get_is_leaf, NULL, "True if it was not computed from variables.",
     NULL},
    {"name", (getter)get_name, (setter)set_name, "The name of a leaf, or None.", NULL},
    {"tape", (getter)get_tape, NULL, "The tape it is recorded on, or None.", NULL},
    {"_strides", (getter)get_strides, NULL, NULL, NULL},
    {"_offset", (getter)get_offset, NULL, NULL, NULL},
    {"_is_ended", (getter)get_is_ended, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* ---- conversions and comparisons -------------------------------------------------- */

static Py_ssize_t array_length(PyObject *self)
{
    ArrayObject *a = (ArrayObject *)self;
    if (a->ndim)
        return array_shape(a)[0];
    raise_error(PYAD_ERROR_ARGUMENTS,
                "an array without dimensions has no len(): see size");
    return -1;
}

static PyObject *array_compare(PyObject *x, PyObject *y, int comparison)
{
    if (guarding_tapes) {
        PyObject *outcomes = guard_arrays(x, y, comparison);
        if (outcomes || PyErr_Occurred())
            return outcomes;
    }
    PyArrayObject *a = array_values_view((ArrayObject *)x);
    PyObject *b = is_array(y) ? (PyObject *)array_values_view((ArrayObject *)y)
                  : is_var(y) ? PyFloat_FromDouble(((VarObject *)y)->value)
                              : Py_NewRef(y);
    PyObject *result = a && b ? PyObject_RichCompare((PyObject *)a, b, comparison) : NULL;
    Py_XDECREF(a);
    Py_XDECREF(b);
    return result;
}

static PyMappingMethods array_as_mapping = {
    .mp_length = array_length,
    .mp_subscript = array_subscript,
    .mp_ass_subscript = array_assign,
};

static PyObject *sequence_item(PyObject *self, Py_ssize_t i)
{
    PyObject *key = PyLong_FromSsize_t(i);
    PyObject *item = key ? array_subscript(self, key) : NULL;
    Py_XDECREF(key);
    return item;
}

/* `x in a`: whether any element equals it. */
static int array_contains(PyObject *self, PyObject *item)
{
    PyObject *same = array_compare(self, item, Py_EQ);
    PyObject *any = same && PyArray_Check(same) ? PyObject_CallMethod(same, "any", NULL)
                                                : Py_XNewRef(same);
    int answer = !any ? -1 : any == Py_NotImplemented ? 0 : PyObject_IsTrue(any);
    Py_XDECREF(same);
    Py_XDECREF(any);
    return answer;
}

static PySequenceMethods array_as_sequence = {
    .sq_length = array_length,
    .sq_item = sequence_item,
    .sq_contains = array_contains,
};

static PyObject *array_iterate(PyObject *self)
{
    if (((ArrayObject *)self)->ndim == 0) {
        return raise_error(
            PYAD_ERROR_ARGUMENTS,
            "an array without dimensions cannot be iterated over: take a[()]");
    }
    return PySeqIter_New(self);
}

static PyObject *array_repr(PyObject *self)
{
    static PyObject *text;
    return python_function(&text, "pyad.array._convert", "text_of")
               ? PyObject_CallOneArg(text, self)
               : NULL;
}

/* As NumPy prints the values. */
static PyObject *array_str(PyObject *self)
{
    PyObject *values = get_value((ArrayObject *)self, NULL);
    PyObject *text = values ? PyObject_Str(values) : NULL;
    Py_XDECREF(values);
    return text;
}

PyTypeObject Array_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pyad.Array",
    .tp_doc = "A differentiable array of floats that behaves as a NumPy array. Make one "
              "with pyad.array(x, requires_grad=True, name=None).",
    .tp_basicsize = sizeof(ArrayObject),
    .tp_itemsize = sizeof(Py_ssize_t),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = array_type_new,
    .tp_dealloc = (destructor)array_dealloc,
    .tp_repr = array_repr,
    .tp_str = array_str,
    .tp_hash = PyObject_HashNotImplemented,
    .tp_richcompare = array_compare,
    .tp_iter = array_iterate,
    .tp_as_number = &array_as_number,
    .tp_as_mapping = &array_as_mapping,
    .tp_as_sequence = &array_as_sequence,
    .tp_getset = array_getset,
    .tp_methods = array_methods,
};
