/* What an Array tells of itself: shape, value, gradient, name. Those of a leaf may be
 * assigned. */
#include "array.h"

#include <string.h>

#include "array_functions.h"

static PyObject *get_shape(ArrayObject *a, void *closure)
{
    (void)closure;
    return shape_tuple(a->ndim, array_shape(a));
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

PyObject *array_get_value(ArrayObject *a, void *closure)
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

/* Only leaves can be assigned. */
static void refuse_recorded(const Storage *s, const char *attribute)
{
    PyObject *what = storage_origin(s);
    raise_error(PYAD_ERROR_NOT_ASSIGNABLE, attribute, message_text(what));
    Py_XDECREF(what);
}

static int refuse_deletion(const char *attribute)
{
    char text[64];
    snprintf(text, sizeof text, "%s of an array cannot be deleted", attribute);
    raise_error(PYAD_ERROR_ARGUMENTS, text);
    return -1;
}

/* The leaf leaves the recording that saw its old value: its next use registers the new
 * one. A view of a leaf assigns its part. */
static int set_value(ArrayObject *a, PyObject *value, void *closure)
{
    (void)closure;
    if (!value)
        return refuse_deletion("value");
    if (storage_is_recorded(a->storage)) {
        refuse_recorded(a->storage, "value");
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
    PyArrayObject *view =
        array_view_of(a, NPY_DOUBLE, PyArray_DATA((PyArrayObject *)flat));
    if (view && PyArray_SetBaseObject(view, Py_NewRef(flat)) < 0)
        Py_CLEAR(view);
    return (PyObject *)view;
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
    if (!value)
        return refuse_deletion("grad");
    if (storage_is_recorded(s)) {
        refuse_recorded(s, "grad");
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

PyObject *array_zero_grad(PyObject *self, PyObject *unused)
{
    Storage *s = ((ArrayObject *)self)->storage;
    (void)unused;
    if (storage_is_recorded(s)) {
        refuse_recorded(s, "grad");
        return NULL;
    }
    npy_intp size = (npy_intp)s->size;
    PyObject *zeros = PyArray_ZEROS(1, &size, NPY_DOUBLE, 0);
    if (!zeros)
        return NULL;
    Py_XSETREF(s->gradient, zeros);
    Py_RETURN_NONE;
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
    int truth = flag ? PyObject_IsTrue(flag) : refuse_deletion("requires_grad");
    if (truth < 0)
        return -1;
    if (storage_is_recorded(s)) {
        if (truth)
            return 0;
        refuse_recorded(s, "requires_grad=False");
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
    return shape_tuple(a->ndim, array_strides(a));
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
    {"value", (getter)array_get_value, (setter)set_value,
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
