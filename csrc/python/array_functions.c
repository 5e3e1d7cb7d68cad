/* What the Python layer of arrays is made of: views, parts (values and rows), sums,
 * linear maps; and NumPy's protocol for functions that are no ufuncs. */
#include "array.h"

#include <string.h>

#include "../buffer.h"
#include "dual.h"

int shape_read(PyObject *shape, Py_ssize_t *sides)
{
    Py_ssize_t ndim = PyTuple_Check(shape) ? PyTuple_GET_SIZE(shape) : -1;
    if (ndim < 0 || ndim > NPY_MAXDIMS) {
        raise_error(PYAD_ERROR_ARGUMENTS, "a shape is a tuple of at most 64 lengths");
        return -1;
    }
    for (Py_ssize_t i = 0; i < ndim; i++) {
        sides[i] = PyLong_AsSsize_t(PyTuple_GET_ITEM(shape, i));
        if (sides[i] == -1 && PyErr_Occurred())
            return -1;
    }
    return (int)ndim;
}

/* ---- views ------------------------------------------------------------------------ */

static PyObject *positions_of(ArrayObject *a)
{
    PyObject *result = PyArray_SimpleNew(a->ndim, array_shape(a), NPY_INT64);
    int64_t *place = result ? PyArray_DATA((PyArrayObject *)result) : NULL;
    Py_ssize_t at[NPY_MAXDIMS] = {0}, here = 0;
    for (Py_ssize_t k = 0; place && k < a->size; k++) {
        place[k] = here;
        for (int i = a->ndim; i-- > 0;) {
            here += array_strides(a)[i];
            if (++at[i] < array_shape(a)[i])
                break;
            here -= at[i] * array_strides(a)[i];
            at[i] = 0;
        }
    }
    return result;
}

static PyObject *convert_view(ArrayObject *a, PyObject *found, int *elsewhere)
{
    if (PyArray_Check(found))
        return array_of_view(a, (PyArrayObject *)found, elsewhere);
    if (PyArray_IsScalar(found, Generic)) { /* an element, which a view is not */
        *elsewhere = 1;
        return NULL;
    }
    if (!PyList_Check(found) && !PyTuple_Check(found))
        return Py_NewRef(found);
    PyObject *items = PySequence_List(found);
    for (Py_ssize_t i = 0; items && i < PyList_GET_SIZE(items); i++) {
        PyObject *item = convert_view(a, PyList_GET_ITEM(items, i), elsewhere);
        if (!item) {
            Py_DECREF(items);
            return NULL;
        }
        PyList_SetItem(items, i, item);
    }
    PyObject *result = items && PyTuple_Check(found) ? PySequence_Tuple(items) : items;
    if (result != items)
        Py_DECREF(items);
    return result;
}

/* _array_view(a, function, *rest): what function(values, *rest) shows of `a`, where that
 * is a view (or a list of views) of the same memory; NotImplemented if it copied. */
static PyObject *array_view(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count < 2 || count > 8 || !is_array(args[0]))
        return raise_error(PYAD_ERROR_ARGUMENTS, "_array_view takes an Array");
    ArrayObject *a = (ArrayObject *)args[0];
    PyObject *stack[8];
    int elsewhere = 0;
    PyObject *values = (PyObject *)array_values_view(a);
    if (!values)
        return NULL;
    stack[0] = values;
    for (Py_ssize_t i = 2; i < count; i++)
        stack[i - 1] = args[i];
    PyObject *found = PyObject_Vectorcall(args[1], stack, (size_t)count - 1, NULL);
    PyObject *result = found ? convert_view(a, found, &elsewhere) : NULL;
    Py_XDECREF(found);
    Py_DECREF(values);
    if (!result && elsewhere && !PyErr_Occurred())
        return Py_NewRef(Py_NotImplemented);
    return result;
}

/* reshape to a shape that is whole already; a copy where NumPy makes one. */
static PyObject *array_reshape(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    static PyObject *elsewhere;
    ArrayObject *a = (ArrayObject *)self;
    Py_ssize_t sides[NPY_MAXDIMS], size = 1, unknown = -1, ndim = count;
    PyObject *const *items = args;
    if (count == 1 && PyTuple_CheckExact(args[0])) {
        items = &PyTuple_GET_ITEM(args[0], 0);
        ndim = PyTuple_GET_SIZE(args[0]);
    }
    int quick = a->contiguous && ndim <= NPY_MAXDIMS;
    for (Py_ssize_t i = 0; quick && i < ndim; i++) {
        sides[i] = PyLong_CheckExact(items[i]) ? PyLong_AsSsize_t(items[i]) : -2;
        if (sides[i] == -1 && unknown < 0 && !PyErr_Occurred())
            unknown = i;
        else if (sides[i] < 0)
            quick = 0;
        else
            size *= sides[i];
    }
    PyErr_Clear();
    if (quick && unknown >= 0 && size > 0 && a->size % size == 0) {
        sides[unknown] = a->size / size;
        size = a->size;
    } else if (unknown >= 0) {
        quick = 0;
    }
    if (quick && size == a->size)
        return (PyObject *)array_new(storage_retain(a->storage), (int)ndim, sides, NULL,
                                     a->offset);
    if (!python_function(&elsewhere, "pyad.array._structure", "reshape"))
        return NULL;
    PyObject *shape = PyTuple_New(count), *result = NULL;
    for (Py_ssize_t i = 0; shape && i < count; i++)
        PyTuple_SET_ITEM(shape, i, Py_NewRef(args[i]));
    if (shape)
        result = PyObject_CallFunctionObjArgs(
            elsewhere, self, count == 1 ? PyTuple_GET_ITEM(shape, 0) : shape, NULL);
    Py_XDECREF(shape);
    return result;
}

/* ---- parts ------------------------------------------------------------------------ */

/* _array_parts(a): (values, rows or None, tape); a leaf registers itself. */
static PyObject *parts(PyObject *module, PyObject *x)
{
    PyArrayObject *values, *rows;
    thread_state *thread = thread_here();
    (void)module;
    if (!thread)
        return NULL;
    if (!is_array(x))
        return raise_error(PYAD_ERROR_ARGUMENTS, "_array_parts takes an Array");
    const Storage *s = ((ArrayObject *)x)->storage;
    TapeObject *tape = storage_is_recorded(s) ? s->tape : thread->tape;
    if (array_parts((ArrayObject *)x, thread->no_grad ? NULL : tape, &values, &rows) < 0)
        return NULL;
    PyObject *second = rows ? (PyObject *)rows : Py_NewRef(Py_None);
    return Py_BuildValue("(NNO)", values, second, tape);
}

/* _array_of_parts(values, rows or None, tape) */
static PyObject *of_parts(PyObject *module, PyObject *args)
{
    PyObject *values, *rows, *tape;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOO!", &values, &rows, &Tape_Type, &tape))
        return NULL;
    PyObject *v = PyArray_FROMANY(values, NPY_DOUBLE, 0, 0, NPY_ARRAY_CARRAY_RO);
    PyObject *r = NULL, *result = NULL;
    if (v && rows != Py_None)
        r = PyArray_FROMANY(rows, NPY_UINT32, 0, 0, NPY_ARRAY_CARRAY_RO);
    if (v && r && PyArray_SIZE((PyArrayObject *)r) != PyArray_SIZE((PyArrayObject *)v))
        raise_error(PYAD_ERROR_ARGUMENTS, "values and rows have one shape");
    if (v && !PyErr_Occurred())
        result =
            array_of_parts((TapeObject *)tape, (PyArrayObject *)v, (PyArrayObject *)r);
    Py_XDECREF(v);
    Py_XDECREF(r);
    return result;
}

/* _array_row(x): the row of a variable for the parts of an array: node + 1, 0 for a
 * constant. A leaf registers itself. And its tape, or None. */
static PyObject *row_of(PyObject *module, PyObject *x)
{
    thread_state *thread = thread_here();
    (void)module;
    if (!thread)
        return NULL;
    VarObject *v = (VarObject *)x;
    if (is_dual(x))
        return dual_refuse(x, "an array");
    if (guarding_tapes && thread->no_grad && guard_read(x) < 0)
        return NULL; /* it becomes a constant */
    if (!is_var(x) || thread->no_grad || v->generation == CONSTANT_GENERATION)
        return Py_BuildValue("(iO)", 0, Py_None);
    if (is_intermediate(v)) {
        if (!tape_knows(v->tape, v->generation)) {
            raise_stale(v);
            return NULL;
        }
        array_mark_node(v->tape, v->node);
        return Py_BuildValue("(kO)", (unsigned long)v->node + 1, v->tape);
    }
    TapeObject *tape = thread->tape;
    if (tape_check_idle(tape) < 0 || tape_make_room(tape, 1, 0) < 0)
        return NULL;
    uint32_t node = v->tape == tape ? v->node : tape_register(tape, v);
    return Py_BuildValue("(kO)", (unsigned long)node + 1, tape);
}

PyObject *var_of_empty_sum(TapeObject *tape)
{
    if (tape_make_room(tape, 0, 0) < 0)
        return NULL;
    uint32_t node = pyad_push_node(tape->core, PYAD_OP_SUM, 0, 0);
    return var_of_node(tape, tape->generation, 0, node);
}

/* ---- sums ------------------------------------------------------------------------- */

/* Which axes: a bit each; None means all. -1 with an exception. */
static int read_axes(PyObject *given, int ndim, char *reduced)
{
    memset(reduced, given == Py_None, NPY_MAXDIMS);
    if (given == Py_None)
        return 0;
    PyObject *axes = PyTuple_Check(given) ? Py_NewRef(given) : PyTuple_Pack(1, given);
    int status = axes ? 0 : -1;
    for (Py_ssize_t i = 0; status == 0 && i < PyTuple_GET_SIZE(axes); i++) {
        Py_ssize_t axis = PyNumber_AsSsize_t(PyTuple_GET_ITEM(axes, i), NULL);
        Py_ssize_t k = axis < 0 ? axis + ndim : axis;
        if ((axis == -1 && PyErr_Occurred()) || k < 0 || k >= ndim || reduced[k]) {
            if (!PyErr_Occurred())
                raise_error(PYAD_ERROR_AXIS, axis, ndim);
            status = -1;
        } else {
            reduced[k] = 1;
        }
    }
    Py_XDECREF(axes);
    return status;
}

static PyObject *sum_recorded(array_operands *o, ArrayObject *a, const char *reduced,
                              int ndim, const Py_ssize_t *shape)
{
    int64_t sides[NPY_MAXDIMS], strides[NPY_MAXDIMS], step = 1;
    pyad_vector v;
    void *scratch = NULL;
    uint32_t block = 0;
    for (int i = a->ndim; i-- > 0;) {
        sides[i] = array_shape(a)[i];
        strides[i] = reduced[i] ? 0 : step;
        step *= reduced[i] ? 1 : sides[i];
    }
    int status = array_operand_vector(o, &o->x[0], a->ndim, array_shape(a), &v, &scratch);
    if (status == 0) {
        v.step = 1;
        status = pyad_block_collect(o->tape->core, v, (size_t)a->ndim, sides, strides, 0,
                                    (size_t)shape_size(ndim, shape), &block);
    }
    Py_XDECREF(scratch);
    return array_operands_finish(o, status, block, ndim, shape);
}

static PyObject *sum_over(ArrayObject *a, PyObject *axes, int keepdims)
{
    char reduced[NPY_MAXDIMS];
    Py_ssize_t shape[NPY_MAXDIMS];
    int ndim = 0;
    if (read_axes(axes, a->ndim, reduced) < 0)
        return NULL;
    for (int i = 0; i < a->ndim; i++)
        if (!reduced[i] || keepdims)
            shape[ndim++] = reduced[i] ? 1 : array_shape(a)[i];
    array_operand x = {.array = a, .ndim = a->ndim, .shape = array_shape(a)};
    array_operands o = {.name = "sum", .count = 1, .x = &x};
    if (array_operands_open(&o) < 0)
        return NULL;
    if (o.tape && a->size && shape_size(ndim, shape))
        return sum_recorded(&o, a, reduced, ndim, shape);
    array_operands_undo(&o);
    if (o.tape && ndim == 0)
        return var_of_empty_sum(o.tape);
    if (o.tape && shape_size(ndim, shape) == 0)
        return array_empty(o.tape, ndim, shape);
    PyArrayObject *values = array_values_view(a);
    PyObject *sum =
        values ? PyObject_CallMethod((PyObject *)values, "sum", "(O)", axes) : NULL;
    PyArrayObject *floats =
        sum ? (PyArrayObject *)PyArray_FROMANY(sum, NPY_DOUBLE, 0, 0, NPY_ARRAY_CARRAY_RO)
            : NULL;
    PyObject *result = NULL;
    if (floats && ndim == 0) {
        result = var_new(*(double *)PyArray_DATA(floats), CONSTANT_GENERATION);
    } else if (floats) {
        Storage *s = storage_new((size_t)PyArray_SIZE(floats));
        if (s)
            memcpy(s->values, PyArray_DATA(floats), s->size * sizeof(double));
        result = (PyObject *)array_new(s, ndim, shape, NULL, 0);
    }
    Py_XDECREF((PyObject *)floats);
    Py_XDECREF(sum);
    Py_XDECREF((PyObject *)values);
    return result;
}

/* _array_sum(a, axes=None, keepdims=False) */
static PyObject *array_sum(PyObject *module, PyObject *args)
{
    PyObject *x, *axes = Py_None;
    int keepdims = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!|Op", &Array_Type, &x, &axes, &keepdims))
        return NULL;
    return sum_over((ArrayObject *)x, axes, keepdims);
}

static PyObject *method_sum(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static PyObject *elsewhere;
    if (PyTuple_GET_SIZE(args) == 0 && (!kwargs || !PyDict_GET_SIZE(kwargs)))
        return sum_over((ArrayObject *)self, Py_None, 0);
    if (!python_function(&elsewhere, "pyad.array._reductions", "sum"))
        return NULL;
    PyObject *first = PyTuple_Pack(1, self);
    PyObject *all = first ? PySequence_Concat(first, args) : NULL;
    PyObject *result = all ? PyObject_Call(elsewhere, all, kwargs) : NULL;
    Py_XDECREF(first);
    Py_XDECREF(all);
    return result;
}

/* _array_cumsum(a, axis) */
static PyObject *array_cumsum(PyObject *module, PyObject *args)
{
    PyObject *given;
    int axis;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!i", &Array_Type, &given, &axis))
        return NULL;
    ArrayObject *a = (ArrayObject *)given;
    if (axis < -a->ndim || axis >= a->ndim)
        return raise_error(PYAD_ERROR_AXIS, (Py_ssize_t)axis, a->ndim);
    axis += axis < 0 ? a->ndim : 0;
    pyad_cumsum c = {1, (size_t)array_shape(a)[axis], 1, 0};
    for (int i = 0; i < a->ndim; i++)
        *(i < axis ? &c.outer : &c.inner) *= i == axis ? 1 : (size_t)array_shape(a)[i];
    array_operand x = {.array = a, .ndim = a->ndim, .shape = array_shape(a)};
    array_operands o = {.name = "cumsum", .count = 1, .x = &x};
    pyad_vector v;
    void *scratch = NULL;
    uint32_t block = 0;
    if (array_operands_open(&o) < 0)
        return NULL;
    if (a->size == 0) {
        array_operands_undo(&o);
        return array_empty(o.tape, a->ndim, array_shape(a));
    }
    int status = array_operand_vector(&o, &x, a->ndim, array_shape(a), &v, &scratch);
    v.step = 1;
    PyObject *result = NULL;
    if (o.tape) {
        if (status == 0)
            status = pyad_block_cumsum(o.tape->core, &c, v, &block);
        result = array_operands_finish(&o, status, block, a->ndim, array_shape(a));
    } else if (status == 0) {
        Storage *s = storage_new((size_t)a->size);
        if (s)
            pyad_cumsum_value(&c, v.values, s->values);
        result = (PyObject *)array_new(s, a->ndim, array_shape(a), NULL, 0);
    }
    Py_XDECREF(scratch);
    return result;
}

/* _array_linear(values, first or None, rows, weights or None, tape, base=None): nodes
 * with these values, each a sum of weights * (nodes of the rows), and of `base`, which
 * its constant terms come to (None: what the value leaves for it). */
static PyObject *array_linear(PyObject *module, PyObject *args)
{
    PyObject *given[5] = {NULL, NULL, NULL, NULL, Py_None}, *tape_given, *result = NULL;
    PyArrayObject *array[5] = {NULL};
    static const int types[5] = {NPY_DOUBLE, NPY_UINT32, NPY_UINT32, NPY_DOUBLE,
                                 NPY_DOUBLE};
    int status = 0;
    uint32_t block;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOOO!|O", &given[0], &given[1], &given[2], &given[3],
                          &Tape_Type, &tape_given, &given[4]))
        return NULL;
    TapeObject *tape = (TapeObject *)tape_given;
    for (int i = 0; i < 5 && status == 0; i++)
        if (given[i] != Py_None) {
            array[i] = (PyArrayObject *)PyArray_FROMANY(
                given[i], types[i], 0, 0, NPY_ARRAY_CARRAY_RO | NPY_ARRAY_FORCECAST);
            status = array[i] ? 0 : -1;
        }
    size_t count = status == 0 ? (size_t)PyArray_SIZE(array[0]) : 0;
    size_t entries = status == 0 && array[2] ? (size_t)PyArray_SIZE(array[2]) : 0;
    const uint32_t *rows = entries ? PyArray_DATA(array[2]) : NULL;
    const uint32_t *first = array[1] ? PyArray_DATA(array[1]) : NULL;
    if (status == 0 && ((!first && entries != count) ||
                        (first && ((size_t)PyArray_SIZE(array[1]) != count + 1 ||
                                   first[count] != entries)) ||
                        (array[3] && (size_t)PyArray_SIZE(array[3]) != entries) ||
                        (array[4] && (size_t)PyArray_SIZE(array[4]) != count))) {
        raise_error(PYAD_ERROR_ARGUMENTS, "_array_linear: the parts do not fit together");
        status = -1;
    }
    for (size_t k = 0; status == 0 && k < entries; k++)
        if (rows[k] == ENDED_ROW || rows[k] > tape->core->length) {
            raise_error(PYAD_ERROR_STALE, "of an element of an array");
            status = -1;
        }
    if (status == 0 && count && tape_check_idle(tape) == 0) {
        int failed =
            pyad_block_affine(tape->core, count, PyArray_DATA(array[0]), first, entries,
                              rows, array[3] ? PyArray_DATA(array[3]) : NULL,
                              array[4] ? PyArray_DATA(array[4]) : NULL, &block);
        if (failed)
            raise_error(failed);
        else
            result = array_of_block(tape, block, PyArray_NDIM(array[0]),
                                    PyArray_DIMS(array[0]));
    } else if (status == 0 && !count) {
        result = array_of_parts(tape, array[0], NULL);
    }
    for (int i = 0; i < 5; i++)
        Py_XDECREF((PyObject *)array[i]);
    return result;
}

/* _array_apply(op, x) or (op, x, y) */
static PyObject *apply_by_number(PyObject *module, PyObject *args)
{
    int op;
    PyObject *x, *y = NULL;
    (void)module;
    if (!PyArg_ParseTuple(args, "iO|O", &op, &x, &y))
        return NULL;
    const pyad_op_info *info = pyad_op_describe(op);
    if (!info || info->arguments != (y ? 2 : 1))
        return raise_error(PYAD_ERROR_OPERATION_UNKNOWN);
    return array_apply(op, x, y);
}

/* ---- NumPy's protocol ------------------------------------------------------------- */

static PyObject *function_table; /* {NumPy function: ours} */
static PyObject *numpy_matmul;

/* _array_functions(table, numpy.matmul): what __array_function__ looks up. */
static PyObject *set_functions(PyObject *module, PyObject *args)
{
    PyObject *table, *matmul;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!O", &PyDict_Type, &table, &matmul))
        return NULL;
    Py_XSETREF(function_table, Py_NewRef(table));
    Py_XSETREF(numpy_matmul, Py_NewRef(matmul));
    Py_RETURN_NONE;
}

/* Floats given as `out` cannot take variables: refused before anything is recorded. */
static int check_out(PyObject *args, PyObject *kwargs)
{
    static PyObject *check;
    PyObject *out = kwargs ? PyDict_GetItemString(kwargs, "out") : NULL;
    if (!out || !PyArray_Check(out))
        return 0;
    PyObject *given = python_function(&check, "pyad.array._common", "check_out")
                          ? PyTuple_New(PyTuple_GET_SIZE(args) + 1)
                          : NULL;
    for (Py_ssize_t i = 0; given && i <= PyTuple_GET_SIZE(args); i++)
        PyTuple_SET_ITEM(given, i, Py_NewRef(i ? PyTuple_GET_ITEM(args, i - 1) : out));
    PyObject *nothing = given ? PyObject_Call(check, given, NULL) : NULL;
    Py_XDECREF(given);
    Py_XDECREF(nothing);
    return nothing ? 0 : -1;
}

static PyObject *array_function(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    static PyObject *refuse;
    (void)self;
    if (count != 4 || !function_table)
        return raise_error(PYAD_ERROR_ARGUMENTS,
                           "__array_function__ takes func, types, args and kwargs");
    PyObject *ours = PyDict_GetItemWithError(function_table, args[0]);
    if (ours)
        return check_out(args[2], args[3]) < 0 ? NULL
                                               : PyObject_Call(ours, args[2], args[3]);
    if (PyErr_Occurred() || !python_function(&refuse, "pyad.array._coverage", "refuse"))
        return NULL;
    return PyObject_CallFunctionObjArgs(refuse, args[0], args[2], args[3], NULL);
}

/* NumPy's own code for one of its functions: arrays of objects. */
static PyObject *numpy_function(PyObject *function, PyObject *args, PyObject *kwargs)
{
    PyObject *own = PyObject_GetAttrString(function, "_implementation");
    PyObject *result = own ? PyObject_Call(own, args, kwargs) : NULL;
    Py_XDECREF(own);
    return result;
}

PyObject *handle_array_function(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    if (count != 4 || !function_table || !PyTuple_Check(args[2]))
        return array_function(self, args, count);
    int known = PyDict_Contains(function_table, args[0]);
    for (Py_ssize_t i = 0; known > 0 && i < PyTuple_GET_SIZE(args[2]); i++)
        known = !is_of_objects(PyTuple_GET_ITEM(args[2], i));
    if (known < 0)
        return NULL;
    return known ? array_function(self, args, count)
                 : numpy_function(args[0], args[2], args[3]);
}

PyObject *array_array_ufunc(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static PyObject *elsewhere;
    Py_ssize_t count = PyTuple_GET_SIZE(args) - 2;
    (void)self;
    if (count < 1)
        return raise_error(PYAD_ERROR_ARGUMENTS,
                           "__array_ufunc__ takes a ufunc, a method and its inputs");
    PyObject *method = PyTuple_GET_ITEM(args, 1), *x = PyTuple_GET_ITEM(args, 2);
    PyObject *y = count > 1 ? PyTuple_GET_ITEM(args, 3) : NULL;
    if (count <= 2 && (!kwargs || !PyDict_GET_SIZE(kwargs)) && PyUnicode_Check(method) &&
        PyUnicode_CompareWithASCIIString(method, "__call__") == 0) {
        int op = ufunc_operation(PyTuple_GET_ITEM(args, 0));
        PyObject *result = Py_NotImplemented;
        if (op == -2)
            return NULL;
        if (PyTuple_GET_ITEM(args, 0) == numpy_matmul)
            result = array_matmul(x, y);
        else if (op == PYAD_OP_POW)
            result = array_as_number.nb_power(x, y, Py_None);
        else if (op >= 0)
            result = array_apply(op, x, y);
        else
            Py_INCREF(result);
        if (result != Py_NotImplemented)
            return result;
        Py_DECREF(result);
    }
    if (!python_function(&elsewhere, "pyad.array._ufuncs", "array_ufunc"))
        return NULL;
    return PyObject_Call(elsewhere, args, kwargs);
}

/* ---- methods ---------------------------------------------------------------------- */

static PyObject *refuse_grad(const Storage *s)
{
    PyObject *what = storage_origin(s);
    raise_error(PYAD_ERROR_NOT_ASSIGNABLE, "grad", message_text(what));
    Py_XDECREF(what);
    return NULL;
}

static PyObject *array_zero_grad(PyObject *self, PyObject *unused)
{
    Storage *s = ((ArrayObject *)self)->storage;
    (void)unused;
    if (storage_is_recorded(s))
        return refuse_grad(s);
    npy_intp size = (npy_intp)s->size;
    PyObject *zeros = PyArray_ZEROS(1, &size, NPY_DOUBLE, 0);
    if (!zeros)
        return NULL;
    Py_XSETREF(s->gradient, zeros);
    Py_RETURN_NONE;
}

static PyObject *array_detach(PyObject *self, PyObject *unused)
{
    (void)unused;
    if (guarding_tapes && guard_read_array((ArrayObject *)self) < 0)
        return NULL;
    PyArrayObject *values = (PyArrayObject *)array_values((ArrayObject *)self);
    PyObject *result = values ? array_of_parts(NULL, values, NULL) : NULL;
    Py_XDECREF(values);
    return result;
}

/* _places(tape): for each time that this leaf was registered on the tape, the nodes of
 * the array (a view of it, maybe) one after the other, and whether it was assigned since.
 */
static PyObject *array_places(PyObject *self, PyObject *given)
{
    ArrayObject *a = (ArrayObject *)self;
    if (!PyObject_TypeCheck(given, &Tape_Type))
        return raise_error(PYAD_ERROR_ARGUMENTS, "_places takes a tape");
    const TapeObject *tape = (TapeObject *)given;
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < tape->array_leaf_count; i++) {
        const array_leaf *entry = &tape->array_leaves[i];
        if (entry->storage != a->storage)
            continue;
        npy_intp size = a->size;
        PyObject *places = positions_of(a), *item = NULL;
        PyObject *nodes = PyArray_SimpleNew(1, &size, NPY_UINT32);
        for (npy_intp k = 0; places && nodes && k < size; k++)
            ((uint32_t *)PyArray_DATA((PyArrayObject *)nodes))[k] =
                entry->start +
                (uint32_t)((int64_t *)PyArray_DATA((PyArrayObject *)places))[k] +
                (uint32_t)a->offset;
        if (places && nodes)
            item = Py_BuildValue("(ON)", nodes,
                                 PyBool_FromLong(entry->version != a->storage->version));
        if (!item || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
        Py_XDECREF(places);
        Py_XDECREF(nodes);
    }
    return list;
}

/* _add_methods(methods): puts functions and properties of the Python layer into the type.
 */
static PyObject *add_methods(PyObject *module, PyObject *methods)
{
    PyObject *key, *value;
    Py_ssize_t i = 0;
    (void)module;
    if (!PyDict_Check(methods))
        return raise_error(PYAD_ERROR_ARGUMENTS, "_add_methods takes a dict");
    while (PyDict_Next(methods, &i, &key, &value))
        if (PyDict_SetItem(Array_Type.tp_dict, key, value) < 0)
            return NULL;
    PyType_Modified(&Array_Type);
    Py_RETURN_NONE;
}

/* ---- structure that must be quick -------------------------------------------------- */

/* Parts of several arrays, for a function of NumPy's that rearranges them. */
typedef struct {
    TapeObject *tape;        /* borrowed; NULL: all are constants */
    PyObject *values, *rows; /* lists; rows NULL if there is no tape */
} parts_list;

static void parts_release(parts_list *p)
{
    Py_XDECREF(p->values);
    Py_XDECREF(p->rows);
}

/* Of a tuple or list of Arrays; -1 with an exception. */
static int parts_read(parts_list *p, PyObject *const *arrays, Py_ssize_t count,
                      const char *what)
{
    thread_state *thread = thread_here();
    *p = (parts_list){.values = PyList_New(count)};
    if (!thread || !p->values)
        return -1;
    int leaves = 0;
    for (Py_ssize_t i = 0; i < count && !thread->no_grad; i++) {
        const Storage *s = ((ArrayObject *)arrays[i])->storage;
        leaves |= s->generation == LEAF_GENERATION;
        if (!storage_is_recorded(s))
            continue;
        if (p->tape && p->tape != s->tape) {
            raise_error(PYAD_ERROR_MIXED_TAPES, what);
            return -1;
        }
        p->tape = s->tape;
    }
    if (leaves && !p->tape)
        p->tape = thread->tape;
    if (p->tape && !(p->rows = PyList_New(count)))
        return -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        ArrayObject *a = (ArrayObject *)arrays[i];
        PyArrayObject *values, *rows;
        int constant = a->storage->generation == CONSTANT_GENERATION;
        if (array_parts(a, constant ? NULL : p->tape, &values, &rows) < 0)
            return -1;
        if (p->rows && !rows)
            rows = (PyArrayObject *)PyArray_ZEROS(a->ndim, array_shape(a), NPY_UINT32, 0);
        PyList_SET_ITEM(p->values, i, (PyObject *)values);
        if (p->rows) {
            if (!rows)
                return -1;
            PyList_SET_ITEM(p->rows, i, (PyObject *)rows);
        }
    }
    return 0;
}

/* The array of what a function gave for values and for rows (taken over). */
static PyObject *array_of_found(const parts_list *p, PyObject *values, PyObject *rows)
{
    PyObject *result = NULL, *v = NULL, *r = NULL;
    if (values && (rows || !p->rows)) {
        v = PyArray_FROMANY(values, NPY_DOUBLE, 0, 0, NPY_ARRAY_CARRAY_RO);
        r = rows ? PyArray_FROMANY(rows, NPY_UINT32, 0, 0, NPY_ARRAY_CARRAY_RO) : NULL;
        if (v && (r || !rows))
            result = array_of_parts(p->tape, (PyArrayObject *)v, (PyArrayObject *)r);
    }
    Py_XDECREF(values);
    Py_XDECREF(rows);
    Py_XDECREF(v);
    Py_XDECREF(r);
    return result;
}

/* _array_concatenate(arrays, axis): axis None joins them flat. */
static PyObject *array_concatenate(PyObject *module, PyObject *const *args,
                                   Py_ssize_t count)
{
    (void)module;
    if (count != 2)
        return raise_error(PYAD_ERROR_ARGUMENTS, "_array_concatenate(arrays, axis)");
    int axis = NPY_RAVEL_AXIS;
    if (args[1] != Py_None) {
        Py_ssize_t given = PyNumber_AsSsize_t(args[1], PyExc_ValueError);
        if (given == -1 && PyErr_Occurred())
            return NULL;
        axis = given < -NPY_MAXDIMS || given > NPY_MAXDIMS ? NPY_MAXDIMS : (int)given;
    }
    PyObject *arrays = PySequence_List(args[0]), *result = NULL;
    if (!arrays)
        return NULL;
    Py_ssize_t n = PyList_GET_SIZE(arrays);
    parts_list p = {NULL, NULL, NULL};
    for (Py_ssize_t i = 0; i < n; i++) {
        ArrayObject *a = array_from(PyList_GET_ITEM(arrays, i), "np.concatenate");
        if (!a) {
            Py_DECREF(arrays);
            return NULL;
        }
        PyList_SetItem(arrays, i, (PyObject *)a);
    }
    if (parts_read(&p, ((PyListObject *)arrays)->ob_item, n, "np.concatenate") == 0) {
        PyObject *values = PyArray_Concatenate(p.values, axis);
        PyObject *rows = values && p.rows ? PyArray_Concatenate(p.rows, axis) : NULL;
        result = array_of_found(&p, values, rows);
    }
    parts_release(&p);
    Py_DECREF(arrays);
    return result;
}

/* _array_where(condition, x, y) */
static PyObject *array_where(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    PyObject *condition = NULL, *result = NULL, *operand[2] = {NULL, NULL};
    parts_list p = {NULL, NULL, NULL};
    (void)module;
    if (count != 3)
        return raise_error(PYAD_ERROR_ARGUMENTS, "_array_where(condition, x, y)");
    if (is_array(args[0]) || is_var(args[0])) {
        PyObject *zero = PyLong_FromLong(0);
        condition = zero ? PyObject_RichCompare(args[0], zero, Py_NE) : NULL;
        Py_XDECREF(zero);
        if (condition)
            Py_SETREF(condition, PyArray_FROM_O(condition));
    } else {
        condition = PyArray_FROM_O(args[0]);
    }
    for (int i = 0; i < 2 && condition; i++) {
        operand[i] = (PyObject *)array_from(args[1 + i], "np.where");
        if (!operand[i])
            goto done;
    }
    if (condition && parts_read(&p, operand, 2, "np.where") == 0) {
        PyObject *values = PyArray_Where(condition, PyList_GET_ITEM(p.values, 0),
                                         PyList_GET_ITEM(p.values, 1));
        PyObject *rows = values && p.rows
                             ? PyArray_Where(condition, PyList_GET_ITEM(p.rows, 0),
                                             PyList_GET_ITEM(p.rows, 1))
                             : NULL;
        result = array_of_found(&p, values, rows);
    }
done:
    parts_release(&p);
    Py_XDECREF(condition);
    Py_XDECREF(operand[0]);
    Py_XDECREF(operand[1]);
    return result;
}

/* _array_copy(a): the same elements in a storage of its own. A contiguous part of a run
 * is a run again, until items are assigned to it: no row is made. */
static PyObject *array_copy(PyObject *module, PyObject *x)
{
    (void)module;
    if (!is_array(x))
        return raise_error(PYAD_ERROR_ARGUMENTS, "_array_copy takes an Array");
    ArrayObject *a = (ArrayObject *)x;
    Storage *s = a->storage;
    thread_state *thread = thread_here();
    if (!thread)
        return NULL;
    TapeObject *tape = thread->no_grad || s->generation == CONSTANT_GENERATION ? NULL
                       : storage_is_recorded(s) ? s->tape
                                                : thread->tape;
    if (tape && s->generation == LEAF_GENERATION && a->size &&
        storage_register(s, tape) < 0)
        return NULL;
    if (tape && storage_check(s) < 0)
        return NULL;
    if (tape && a->size && a->contiguous && !s->rows &&
        (s->generation == LEAF_GENERATION || !s->values)) {
        Storage *run = storage_of_run(tape, s->block, s->start + (uint32_t)a->offset,
                                      (size_t)a->size);
        return (PyObject *)array_new(run, a->ndim, array_shape(a), NULL, 0);
    }
    PyArrayObject *values, *rows;
    if (array_parts(a, tape, &values, &rows) < 0)
        return NULL;
    PyObject *result = array_of_parts(tape, values, rows);
    Py_DECREF(values);
    Py_XDECREF((PyObject *)rows);
    return result;
}

/* _array_shares(a, b): whether both show one storage. */
static PyObject *array_shares(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 2 || !is_array(args[0]) || !is_array(args[1]))
        return raise_error(PYAD_ERROR_ARGUMENTS, "_array_shares takes two Arrays");
    return PyBool_FromLong(((ArrayObject *)args[0])->storage ==
                           ((ArrayObject *)args[1])->storage);
}

PyMethodDef array_methods[] = {
    {"reshape", (PyCFunction)(void (*)(void))array_reshape, METH_FASTCALL,
     "reshape(*shape)\n--\n\nThe same elements in another shape: a view where NumPy's "
     "is."},
    {"sum", (PyCFunction)(void (*)(void))method_sum, METH_VARARGS | METH_KEYWORDS,
     "sum(axis=None, dtype=None, out=None, keepdims=False, initial=0, where=True)\n--\n\n"
     "The sum over axes; a variable if it is over all."},
    {"zero_grad", array_zero_grad, METH_NOARGS,
     "zero_grad()\n--\n\nSet .grad of a leaf to zeros."},
    {"_places", array_places, METH_O, NULL},
    {"detach", array_detach, METH_NOARGS,
     "detach()\n--\n\nA constant array of the same values."},
    {"__array_ufunc__", (PyCFunction)(void (*)(void))array_array_ufunc,
     METH_VARARGS | METH_KEYWORDS, NULL},
    {"__array_function__", (PyCFunction)(void (*)(void))array_function, METH_FASTCALL,
     NULL},
    {NULL, NULL, 0, NULL},
};

static PyObject *array(PyObject *module, PyObject *args, PyObject *kwargs)
{
    (void)module;
    return Array_Type.tp_new(&Array_Type, args, kwargs);
}

static PyObject *positions(PyObject *module, PyObject *x)
{
    (void)module;
    return is_array(x) ? positions_of((ArrayObject *)x)
                       : raise_error(PYAD_ERROR_ARGUMENTS, "_array_positions");
}

PyMethodDef array_functions[] = {
    {"array", (PyCFunction)(void (*)(void))array, METH_VARARGS | METH_KEYWORDS,
     "array(x, requires_grad=True, name=None)\n--\n\n"
     "A new array of independent variables (a leaf), or a constant if requires_grad is "
     "False.\nOf variables, or lists of them, an array that depends on them."},
    {"_array_view", (PyCFunction)(void (*)(void))array_view, METH_FASTCALL, NULL},
    {"_array_positions", positions, METH_O, NULL},
    {"_array_parts", parts, METH_O, NULL},
    {"_array_of_parts", of_parts, METH_VARARGS, NULL},
    {"_array_row", row_of, METH_O, NULL},
    {"_array_sum", array_sum, METH_VARARGS, NULL},
    {"_array_cumsum", array_cumsum, METH_VARARGS, NULL},
    {"_array_linear", array_linear, METH_VARARGS, NULL},
    {"_array_apply", apply_by_number, METH_VARARGS, NULL},
    {"_array_concatenate", (PyCFunction)(void (*)(void))array_concatenate, METH_FASTCALL,
     NULL},
    {"_array_where", (PyCFunction)(void (*)(void))array_where, METH_FASTCALL, NULL},
    {"_array_copy", array_copy, METH_O, NULL},
    {"_array_shares", (PyCFunction)(void (*)(void))array_shares, METH_FASTCALL, NULL},
    {"_array_call", array_call, METH_VARARGS, NULL},
    {"_rule_error", array_rule_error, METH_NOARGS, NULL},
    {"_array_functions", set_functions, METH_VARARGS, NULL},
    {"_add_methods", add_methods, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};
