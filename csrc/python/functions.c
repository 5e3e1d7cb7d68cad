/* The operations as functions of the module and as methods of the handles, under pyad's
 * names and NumPy's: all from the rows of ops.def. What is neither number nor handle (an
 * array, a list) is for the Python layer. */
#include "array.h"
#include "dual.h"

#include <string.h>

/* ---- calling by number ------------------------------------------------------------ */

typedef PyObject *(*unary_function)(PyObject *x);
typedef PyObject *(*binary_function)(PyObject *x, PyObject *y);

static const unary_function unary_by_op[PYAD_OP_COUNT] = {
#define UNARY(ENUM, NAME, ...) [PYAD_OP_##ENUM] = unary_##NAME,
#define BINARY(ENUM, ...)
#define NARY(ENUM, ...)
#include "ops.def"
#undef UNARY
#undef BINARY
};
static const binary_function binary_by_op[PYAD_OP_COUNT] = {
#define UNARY(ENUM, ...)
#define BINARY(ENUM, NAME, ...) [PYAD_OP_##ENUM] = binary_##NAME,
#include "ops.def"
#undef UNARY
#undef BINARY
#undef NARY
};

/* A variable and an array of plain numbers make an Array. */
static int var_meets_floats(PyObject *x, PyObject *y)
{
    return is_var(x) && PyArray_Check(y) &&
           PyArray_TYPE((PyArrayObject *)y) != NPY_OBJECT;
}

/* A result, or for NotImplemented what the Python layer makes of the operands. */
static PyObject *or_elsewhere(PyObject *result, int op, PyObject *x, PyObject *y)
{
    static PyObject *apply;
    if (result != Py_NotImplemented)
        return result;
    Py_DECREF(result);
    if (is_array(x) ||
        (y && (is_array(y) || var_meets_floats(x, y) || var_meets_floats(y, x)))) {
        result = array_apply(op, x, y);
        if (result != Py_NotImplemented)
            return result;
        Py_DECREF(result);
    }
    if (!python_function(&apply, "pyad._elementwise", "apply"))
        return NULL;
    return PyObject_CallFunction(apply, y ? "iOO" : "iO", op, x, y);
}

PyObject *function_call(int op, PyObject *x, PyObject *y)
{
    PyObject *result = unary_by_op[op] ? unary_by_op[op](x) : binary_by_op[op](x, y);
    return or_elsewhere(result, op, x, unary_by_op[op] ? NULL : y);
}

/* ---- one wrapper per row ---------------------------------------------------------- */

#define UNARY(ENUM, NAME, ...)                                                           \
    static PyObject *function_##NAME(PyObject *module, PyObject *x)                      \
    {                                                                                    \
        (void)module;                                                                    \
        return or_elsewhere(unary_##NAME(x), PYAD_OP_##ENUM, x, NULL);                   \
    }                                                                                    \
    static PyObject *method_##NAME(PyObject *x, PyObject *unused)                        \
    {                                                                                    \
        (void)unused;                                                                    \
        return unary_##NAME(x);                                                          \
    }
#define BINARY(ENUM, NAME, ...)                                                          \
    static PyObject *function_##NAME(PyObject *module, PyObject *const *args,            \
                                     Py_ssize_t count)                                   \
    {                                                                                    \
        (void)module;                                                                    \
        if (count != 2)                                                                  \
            return raise_error(PYAD_ERROR_ARGUMENTS,                                     \
                               "pyad." #NAME " takes two arguments");                    \
        return or_elsewhere(binary_##NAME(args[0], args[1]), PYAD_OP_##ENUM, args[0],    \
                            args[1]);                                                    \
    }                                                                                    \
    static PyObject *method_##NAME(PyObject *x, PyObject *y)                             \
    {                                                                                    \
        return or_elsewhere(binary_##NAME(x, y), PYAD_OP_##ENUM, x, y);                  \
    }
#define NARY(ENUM, NAME, TEXT)
#include "ops.def"
#undef UNARY
#undef BINARY
#undef NARY

static PyMethodDef functions[] = {
#define UNARY(ENUM, NAME, NUMPY, VALUE, DA, DAA, DOMAIN, TEXT)                           \
    {#NAME, function_##NAME, METH_O, #NAME "(a, /)\n--\n\n" TEXT},
#define BINARY(ENUM, NAME, NUMPY, VALUE, DA, DB, DAA, DAB, DBB, DOMAIN_A, DOMAIN_B,      \
               TEXT)                                                                     \
    {#NAME, (PyCFunction)(void (*)(void))function_##NAME, METH_FASTCALL,                 \
     #NAME "(a, b, /)\n--\n\n" TEXT},
#define NARY(ENUM, NAME, TEXT)
#include "ops.def"
#undef UNARY
#undef BINARY
    {NULL, NULL, 0, NULL},
};

/* log(a) or log(a, base): what math.log is. In C, since every likelihood calls it. */
static PyObject *log_to_base(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count == 1)
        return function_log(module, args[0]);
    if (count != 2)
        return raise_error(PYAD_ERROR_ARGUMENTS,
                           "log takes one argument, or two with a base");
    mark before;
    if (mark_set(&before, args[0], args[1]) < 0)
        return NULL;
    PyObject *natural = function_log(module, args[0]);
    PyObject *base = natural ? function_log(module, args[1]) : NULL;
    PyObject *result = base ? function_call(PYAD_OP_DIV, natural, base) : NULL;
    if (!result)
        mark_take_back(&before);
    Py_XDECREF(natural);
    Py_XDECREF(base);
    return result;
}

static PyMethodDef other_functions[] = {
    {"_log_to_base", (PyCFunction)(void (*)(void))log_to_base, METH_FASTCALL,
     "log(a, base=e, /)\n--\n\nThe natural logarithm, or that to another base."},
    {NULL, NULL, 0, NULL},
};

/* Methods: every row, then every row whose NumPy name is another one. */
static const struct {
    PyMethodDef method;
    const char *numpy;
} rows[] = {
#define UNARY(ENUM, NAME, NUMPY, VALUE, DA, DAA, DOMAIN, TEXT)                           \
    {{#NAME, method_##NAME, METH_NOARGS, TEXT}, NUMPY},
#define BINARY(ENUM, NAME, NUMPY, VALUE, DA, DB, DAA, DAB, DBB, DOMAIN_A, DOMAIN_B,      \
               TEXT)                                                                     \
    {{#NAME, method_##NAME, METH_O, TEXT}, NUMPY},
#include "ops.def"
#undef UNARY
#undef BINARY
#undef NARY
    {{"fabs", method_abs, METH_NOARGS, "absolute value"}, ""},
    {{"deg2rad", method_radians, METH_NOARGS, "degrees to radians"}, ""},
    {{"rad2deg", method_degrees, METH_NOARGS, "radians to degrees"}, ""},
};

/* NumPy's remainder is our mod, and there is a row of that name too: the row has it. */
static int is_row(const char *name)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].method.ml_name, name) == 0)
            return 1;
    return 0;
}

_Static_assert(2 * sizeof rows / sizeof *rows + 32 <= HANDLE_METHODS_MAX,
               "room for every row under two names, and for 32 other methods");

PyMethodDef *functions_as_methods(const PyMethodDef *own, PyMethodDef *all)
{
    size_t count = 0;
    for (; own->ml_name; own++)
        all[count++] = *own;
    for (const PyMethodDef *both = handle_methods; both->ml_name; both++)
        all[count++] = *both;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        all[count++] = rows[i].method;
        if (*rows[i].numpy && !is_row(rows[i].numpy)) {
            all[count] = rows[i].method;
            all[count++].ml_name = rows[i].numpy;
        }
    }
    return all;
}

/* __all__ of the module: the operations of one and two arguments. */
static int add_names(PyObject *module)
{
    PyObject *names = PyList_New(0);
    for (PyMethodDef *row = functions; names && row->ml_name; row++) {
        PyObject *name = PyUnicode_FromString(row->ml_name);
        if (!name || PyList_Append(names, name) < 0)
            Py_CLEAR(names);
        Py_XDECREF(name);
    }
    int status = names ? PyModule_AddObjectRef(module, "__all__", names) : -1;
    Py_XDECREF(names);
    return status;
}

int functions_add_to(PyObject *module)
{
    if (PyModule_AddFunctions(module, functions) < 0 ||
        PyModule_AddFunctions(module, other_functions) < 0 ||
        PyModule_AddFunctions(module, frame_functions) < 0 ||
        PyModule_AddFunctions(module, dual_functions) < 0 ||
        PyModule_AddFunctions(module, many_functions) < 0 ||
        PyModule_AddFunctions(module, array_functions) < 0 ||
        PyModule_AddFunctions(module, guard_functions) < 0)
        return -1;
    return add_names(module);
}
