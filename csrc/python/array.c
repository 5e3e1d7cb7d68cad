/* Array, the type: making, conversions, comparisons. Its attributes are in
 * array_attributes.c, arithmetic in array_operators.c, indexing in array_index.c; what is
 * rare is added by pyad/array. */
#include "array.h"

#include <string.h>

#include "../buffer.h"
#include "array_functions.h"

/* ---- making ----------------------------------------------------------------------- */

Py_ssize_t shape_size(int ndim, const Py_ssize_t *shape)
{
    Py_ssize_t size = 1;
    for (int i = 0; i < ndim; i++)
        size *= shape[i];
    return size;
}

PyObject *shape_tuple(int ndim, const Py_ssize_t *sides)
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

int shape_check(int ndim, const Py_ssize_t *shape)
{
    const size_t most = PY_SSIZE_T_MAX / sizeof(double);
    size_t size = 1;
    int fits = 1;
    for (int i = 0; i < ndim; i++) {
        if (shape[i] == 0)
            return 0;
        fits &= (size_t)shape[i] <= most / size;
        size = fits ? size * (size_t)shape[i] : size;
    }
    if (fits)
        return 0;
    PyObject *tuple = shape_tuple(ndim, shape);
    PyObject *text = tuple ? PyObject_Repr(tuple) : NULL;
    if (text)
        raise_error(PYAD_ERROR_ARRAY_TOO_BIG, message_text(text));
    Py_XDECREF(tuple);
    Py_XDECREF(text);
    return -1;
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

/* ---- pyad.array ------------------------------------------------------------------- */

/* Numbers as a new C-contiguous ndarray of floats; object arrays and lists with variables
 * are for the Python layer, an Array is its result then. */
ArrayObject *array_from(PyObject *x, const char *what)
{
    static PyObject *convert;
    if (is_array(x))
        return (ArrayObject *)Py_NewRef(x);
    if (PyArray_Check(x) && PyArray_ISNUMBER((PyArrayObject *)x) &&
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
    PyObject *values = array_get_value((ArrayObject *)self, NULL);
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
