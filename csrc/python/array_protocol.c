/* NumPy's protocol: what np.f(a) does for an Array, for ufuncs and other functions. */
#include "array.h"

#include "array_functions.h"

static PyObject *function_table; /* {NumPy function: ours} */
static PyObject *numpy_matmul;

/* _array_functions(table, numpy.matmul): what __array_function__ looks up. */
PyObject *array_set_functions(PyObject *module, PyObject *args)
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

static int is_call(PyObject *const *args, Py_ssize_t count)
{
    return count == 4 && function_table && PyTuple_Check(args[2]) &&
           PyDict_Check(args[3]);
}

PyObject *array_function(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    static PyObject *refuse;
    (void)self;
    if (!is_call(args, count))
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
    if (!is_call(args, count))
        return array_function(self, args, count);
    int known = PyDict_Contains(function_table, args[0]);
    for (Py_ssize_t i = 0; known > 0 && i < PyTuple_GET_SIZE(args[2]); i++)
        known = !is_of_objects(PyTuple_GET_ITEM(args[2], i));
    if (known < 0)
        return NULL;
    return known ? array_function(self, args, count)
                 : numpy_function(args[0], args[2], args[3]);
}

/* A call that stores at its end only: if it raises, the tape is as it was. */
static PyObject *call_or_take_back(PyObject *function, PyObject *args, PyObject *kwargs)
{
    TapeObject *tape = tape_here();
    if (!tape)
        return NULL;
    const uint64_t generation = tape->generation;
    const size_t length = tape->core->length, arguments = tape->core->arguments;
    const size_t leaf_count = tape->leaf_count;
    Py_INCREF((PyObject *)tape);
    PyObject *result = PyObject_Call(function, args, kwargs);
    if (!result && tape->generation == generation && !tape->busy &&
        tape->core->length > length)
        tape_take_back(tape, length, arguments, leaf_count);
    Py_DECREF((PyObject *)tape);
    return result;
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
    return PyUnicode_Check(method) && PyUnicode_CompareWithASCIIString(method, "at") == 0
               ? PyObject_Call(elsewhere, args, kwargs) /* it stores step by step */
               : call_or_take_back(elsewhere, args, kwargs);
}
