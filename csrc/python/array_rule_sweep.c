/* Rules in sweeps: values, adjoints and tangents as the Python layer gives them, in
 * ndarrays or, where a sweep is recorded, in Arrays. */
#include <string.h>

#include "array_rule.h"

/* The exception of a rule that failed in a sweep of this thread, until it is raised. */
static PyObject *pending;

static int fail(void)
{
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    if (value && trace)
        PyException_SetTraceback(value, trace);
    Py_XDECREF(type);
    Py_XDECREF(trace);
    Py_XSETREF(pending, value);
    return PYAD_ERROR_RULE_FAILED;
}

/* raise_error comes here for RULE_FAILED. */
int rule_raise_pending(void)
{
    if (!pending)
        return 0;
    PyObject *value = pending;
    pending = NULL;
    PyErr_SetObject((PyObject *)Py_TYPE(value), value);
    Py_DECREF(value);
    return 1;
}

PyObject *array_rule_error(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    return rule_raise_pending() ? NULL : Py_NewRef(Py_None);
}

/* An ndarray with a copy of numbers, in the shape given. */
static PyObject *shaped(PyObject *shape, const double *numbers)
{
    Py_ssize_t sides[NPY_MAXDIMS];
    int ndim = shape_read(shape, sides);
    PyObject *array = ndim < 0 ? NULL : PyArray_SimpleNew(ndim, sides, NPY_DOUBLE);
    if (array && numbers)
        memcpy(PyArray_DATA((PyArrayObject *)array), numbers,
               (size_t)PyArray_SIZE((PyArrayObject *)array) * sizeof(double));
    return array;
}

static size_t size_of(PyObject *shape)
{
    Py_ssize_t sides[NPY_MAXDIMS];
    int ndim = shape_read(shape, sides);
    return ndim < 0 ? 0 : (size_t)shape_size(ndim, sides);
}

static PyObject *values_of_outputs(python_rule *r, const double *numbers)
{
    Py_ssize_t count = PyTuple_GET_SIZE(r->outputs);
    PyObject *tuple = PyTuple_New(count);
    for (Py_ssize_t i = 0; tuple && i < count; i++) {
        PyObject *shape = PyTuple_GET_ITEM(r->outputs, i);
        PyObject *array = shaped(shape, numbers);
        if (!array) {
            Py_DECREF(tuple);
            return NULL;
        }
        PyTuple_SET_ITEM(tuple, i, array);
        numbers += size_of(shape);
    }
    return tuple;
}

/* `numbers[i]` are those of input i. */
static PyObject *values_of_inputs(python_rule *r, const double *const *numbers)
{
    Py_ssize_t count = PyTuple_GET_SIZE(r->inputs);
    PyObject *tuple = PyTuple_New(count);
    for (Py_ssize_t i = 0; tuple && i < count; i++) {
        PyObject *array = shaped(PyTuple_GET_ITEM(r->inputs, i), numbers[i]);
        if (!array) {
            Py_DECREF(tuple);
            return NULL;
        }
        PyTuple_SET_ITEM(tuple, i, array);
    }
    return tuple;
}

/* Where the numbers of the sources of a block stand; to be freed. */
static const double **sources_of(const pyad_tape *tape, const pyad_block *b)
{
    const double **numbers =
        PyMem_Malloc((b->source_count + (size_t)1) * sizeof *numbers);
    for (uint32_t i = 0; numbers && i < b->source_count; i++)
        numbers[i] = pyad_source_values(tape, &tape->sources[b->first_source + i]);
    if (!numbers)
        PyErr_NoMemory();
    return numbers;
}

/* What a rule returned as a tuple, with an entry for each of `shapes`. */
static PyObject *checked(PyObject *shapes, PyObject *returned)
{
    if (!returned)
        return NULL;
    PyObject *tuple = PySequence_Tuple(returned);
    Py_DECREF(returned);
    if (tuple && PyTuple_GET_SIZE(tuple) != PyTuple_GET_SIZE(shapes)) {
        Py_DECREF(tuple);
        return raise_error(PYAD_ERROR_ARGUMENTS,
                           "a rule returns one adjoint for each input, and one tangent "
                           "for each output");
    }
    return tuple;
}

/* shares[i] += what the rule returned for input i. */
static int add_shares(python_rule *r, PyObject *adjoints, double *const *shares)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(adjoints); i++) {
        PyObject *given = PyTuple_GET_ITEM(adjoints, i);
        if (!shares[i] || given == Py_None)
            continue;
        PyArrayObject *share = (PyArrayObject *)PyArray_FROMANY(given, NPY_DOUBLE, 0, 0,
                                                                NPY_ARRAY_CARRAY_RO);
        size_t size = size_of(PyTuple_GET_ITEM(r->inputs, i));
        if (share && (size_t)PyArray_SIZE(share) != size)
            raise_error(PYAD_ERROR_ARGUMENTS,
                        "a rule returned an adjoint of another shape than its input");
        const int failed = !share || PyErr_Occurred();
        for (size_t k = 0; !failed && k < size; k++)
            shares[i][k] += ((const double *)PyArray_DATA(share))[k];
        Py_XDECREF(share);
        if (failed)
            return fail();
    }
    return PYAD_OK;
}

static int rule_pass(pyad_rule *rule, const double *const *in, const double *out,
                     const double *own, double *const *shares)
{
    PyGILState_STATE state = PyGILState_Ensure();
    python_rule *r = (python_rule *)rule;
    PyObject *g = values_of_outputs(r, own);
    PyObject *outputs = g ? values_of_outputs(r, out) : NULL;
    PyObject *inputs = outputs ? values_of_inputs(r, in) : NULL;
    PyObject *adjoints =
        inputs ? checked(r->inputs,
                         PyObject_CallFunctionObjArgs(r->vjp, g, outputs, inputs, NULL))
               : NULL;
    int status = adjoints ? add_shares(r, adjoints, shares) : fail();
    Py_XDECREF(adjoints);
    Py_XDECREF(inputs);
    Py_XDECREF(outputs);
    Py_XDECREF(g);
    PyGILState_Release(state);
    return status;
}

static int rule_reverse(pyad_rule *rule, const pyad_tape *tape, uint32_t block,
                        const double *own, double *const *shares)
{
    PyGILState_STATE state = PyGILState_Ensure();
    const pyad_block *b = &tape->blocks[block];
    const double **in = sources_of(tape, b);
    int status = in ? rule_pass(rule, in, tape->values + b->start, own, shares) : fail();
    PyMem_Free(in);
    PyGILState_Release(state);
    return status;
}

static int rule_value(pyad_rule *rule, const double *const *in, double *results)
{
    PyGILState_STATE state = PyGILState_Ensure();
    python_rule *r = (python_rule *)rule;
    PyObject *inputs = values_of_inputs(r, in);
    PyObject *values =
        inputs ? checked(r->outputs, PyObject_Call(r->value, inputs, NULL)) : NULL;
    int status = values ? PYAD_OK : fail();
    for (Py_ssize_t i = 0; !status && i < PyTuple_GET_SIZE(values); i++) {
        PyArrayObject *value = (PyArrayObject *)PyArray_FROMANY(
            PyTuple_GET_ITEM(values, i), NPY_DOUBLE, 0, 0, NPY_ARRAY_CARRAY_RO);
        const size_t size = size_of(PyTuple_GET_ITEM(r->outputs, i));
        if (value && (size_t)PyArray_SIZE(value) != size)
            raise_error(PYAD_ERROR_ARGUMENTS,
                        "an operation gave another shape when it was replayed");
        if (!value || PyErr_Occurred())
            status = fail();
        else
            memcpy(results, PyArray_DATA(value), size * sizeof *results);
        results += size;
        Py_XDECREF(value);
    }
    Py_XDECREF(values);
    Py_XDECREF(inputs);
    PyGILState_Release(state);
    return status;
}

/* An Array of operands, in the shape given: rows of the tape. */
static PyObject *array_of_shaped(TapeObject *tape, PyObject *shape, const pyad_operand *x)
{
    Py_ssize_t sides[NPY_MAXDIMS];
    int ndim = shape_read(shape, sides);
    return ndim < 0 ? NULL : array_of_operands(tape, ndim, sides, x);
}

/* The operands of what a rule returned for one array. */
static int operands_of(TapeObject *tape, PyObject *given, size_t size, pyad_operand *x)
{
    PyArrayObject *values, *rows;
    if (given == Py_None) {
        for (size_t i = 0; i < size; i++)
            x[i] = (pyad_operand){0, PYAD_CONSTANT};
        return 0;
    }
    ArrayObject *a = array_from(given, "an adjoint of a rule");
    int status = a ? array_parts(a, tape, &values, &rows) : -1;
    if (status == 0 && (size_t)a->size != size) {
        raise_error(PYAD_ERROR_ARGUMENTS,
                    "a rule returned an adjoint of another shape than its input");
        status = -1;
    } else if (status == 0) {
        const double *value = PyArray_DATA(values);
        const uint32_t *row = rows ? PyArray_DATA(rows) : NULL;
        for (size_t i = 0; i < size; i++)
            x[i] = (pyad_operand){value[i], row && row[i] ? row[i] - 1 : PYAD_CONSTANT};
    }
    if (a && status == 0) {
        Py_DECREF(values);
        Py_XDECREF((PyObject *)rows);
    }
    Py_XDECREF((PyObject *)a);
    return status;
}

/* Arrays for the nodes of a block's results and sources on the tape being recorded. */
static PyObject *recorded_outputs(python_rule *r, TapeObject *tape, const pyad_block *b)
{
    Py_ssize_t count = PyTuple_GET_SIZE(r->outputs);
    PyObject *tuple = PyTuple_New(count);
    uint32_t start = b->start, block = pyad_tape_block_of(tape->core, b->start);
    for (Py_ssize_t i = 0; tuple && i < count; i++) {
        Py_ssize_t sides[NPY_MAXDIMS];
        PyObject *shape = PyTuple_GET_ITEM(r->outputs, i);
        int ndim = shape_read(shape, sides);
        size_t size = size_of(shape);
        ArrayObject *a = ndim < 0 ? NULL
                                  : array_new(storage_of_run(tape, block, start, size),
                                              ndim, sides, NULL, 0);
        if (!a) {
            Py_DECREF(tuple);
            return NULL;
        }
        PyTuple_SET_ITEM(tuple, i, (PyObject *)a);
        start += (uint32_t)size;
    }
    return tuple;
}

static PyObject *recorded_inputs(python_rule *r, TapeObject *tape, const pyad_block *b)
{
    Py_ssize_t count = PyTuple_GET_SIZE(r->inputs);
    PyObject *tuple = PyTuple_New(count);
    for (Py_ssize_t i = 0; tuple && i < count; i++) {
        Py_ssize_t sides[NPY_MAXDIMS];
        PyObject *shape = PyTuple_GET_ITEM(r->inputs, i), *a = NULL;
        const pyad_source *source = &tape->core->sources[b->first_source + (uint32_t)i];
        int ndim = shape_read(shape, sides);
        if (ndim >= 0 && source->node == PYAD_CONSTANT)
            a = shaped(shape, pyad_source_values(tape->core, source));
        else if (ndim >= 0 && (ndim == 0 || source->block == PYAD_NO_BLOCK))
            a = array_of_shaped(
                tape, shape,
                &(pyad_operand){tape->core->values[source->node], source->node});
        else if (ndim >= 0)
            a = (PyObject *)array_new(
                storage_of_run(tape, source->block, source->node, size_of(shape)), ndim,
                sides, NULL, 0);
        if (!a) {
            Py_DECREF(tuple);
            return NULL;
        }
        PyTuple_SET_ITEM(tuple, i, a);
    }
    return tuple;
}

/* The tape whose core this is: recorded sweeps run on the tape of the thread. */
static TapeObject *owner_of(const pyad_tape *core)
{
    TapeObject *tape = tape_here();
    if (tape && tape->core != core)
        raise_error(PYAD_ERROR_MIXED_TAPES, "a recorded sweep");
    return tape && tape->core == core ? tape : NULL;
}

static int rule_record_reverse(pyad_rule *rule, pyad_tape *core, uint32_t block,
                               const pyad_operand *own, pyad_operand *const *shares)
{
    PyGILState_STATE state = PyGILState_Ensure();
    python_rule *r = (python_rule *)rule;
    TapeObject *tape = owner_of(core);
    const pyad_block b = core->blocks[block];
    Py_ssize_t outputs = PyTuple_GET_SIZE(r->outputs);
    PyObject *g = tape ? PyTuple_New(outputs) : NULL;
    for (Py_ssize_t i = 0; g && i < outputs; i++) {
        PyObject *shape = PyTuple_GET_ITEM(r->outputs, i);
        PyObject *a = array_of_shaped(tape, shape, own);
        if (!a) {
            Py_CLEAR(g);
            break;
        }
        PyTuple_SET_ITEM(g, i, a);
        own += size_of(shape);
    }
    PyObject *out = g ? recorded_outputs(r, tape, &b) : NULL;
    PyObject *in = out ? recorded_inputs(r, tape, &b) : NULL;
    PyObject *adjoints =
        in ? checked(r->inputs, PyObject_CallFunctionObjArgs(r->vjp, g, out, in, NULL))
           : NULL;
    int status = adjoints ? PYAD_OK : fail();
    for (Py_ssize_t i = 0; !status && i < PyTuple_GET_SIZE(adjoints); i++)
        if (shares[i] &&
            operands_of(tape, PyTuple_GET_ITEM(adjoints, i),
                        size_of(PyTuple_GET_ITEM(r->inputs, i)), shares[i]) < 0)
            status = fail();
    Py_XDECREF(adjoints);
    Py_XDECREF(in);
    Py_XDECREF(out);
    Py_XDECREF(g);
    PyGILState_Release(state);
    return status;
}

/* The Python layer differentiates the rule in its adjoints. */
static PyObject *tangents_of(python_rule *r, PyObject *out, PyObject *in,
                             PyObject *tangents)
{
    static PyObject *push;
    if (!python_function(&push, "pyad.array._rules", "push_forward"))
        return NULL;
    return checked(r->outputs,
                   PyObject_CallFunctionObjArgs(push, r->vjp, out, in, tangents, NULL));
}

static int rule_forward(pyad_rule *rule, const pyad_tape *tape, uint32_t block,
                        const double *const *tangents, double *result)
{
    PyGILState_STATE state = PyGILState_Ensure();
    python_rule *r = (python_rule *)rule;
    const pyad_block *b = &tape->blocks[block];
    PyObject *out = values_of_outputs(r, tape->values + b->start);
    const double **numbers = out ? sources_of(tape, b) : NULL;
    PyObject *in = numbers ? values_of_inputs(r, numbers) : NULL, *found = NULL;
    PyMem_Free(numbers);
    PyObject *given = in ? PyTuple_New(PyTuple_GET_SIZE(r->inputs)) : NULL;
    for (Py_ssize_t i = 0; given && i < PyTuple_GET_SIZE(given); i++) {
        PyObject *t = tangents[i] ? shaped(PyTuple_GET_ITEM(r->inputs, i), tangents[i])
                                  : Py_NewRef(Py_None);
        if (!t) {
            Py_CLEAR(given);
            break;
        }
        PyTuple_SET_ITEM(given, i, t);
    }
    if (given)
        found = tangents_of(r, out, in, given);
    int status = found ? PYAD_OK : fail();
    for (Py_ssize_t i = 0; !status && i < PyTuple_GET_SIZE(r->outputs); i++) {
        size_t size = size_of(PyTuple_GET_ITEM(r->outputs, i));
        PyArrayObject *t = (PyArrayObject *)PyArray_FROMANY(
            PyTuple_GET_ITEM(found, i), NPY_DOUBLE, 0, 0, NPY_ARRAY_CARRAY_RO);
        if (t && (size_t)PyArray_SIZE(t) != size)
            raise_error(PYAD_ERROR_ARGUMENTS,
                        "a rule returned a tangent of another shape than its output");
        if (!t || PyErr_Occurred())
            status = fail();
        else
            memcpy(result, PyArray_DATA(t), size * sizeof(double));
        Py_XDECREF((PyObject *)t);
        result += size;
    }
    Py_XDECREF(found);
    Py_XDECREF(given);
    Py_XDECREF(in);
    Py_XDECREF(out);
    PyGILState_Release(state);
    return status;
}

static int rule_record_forward(pyad_rule *rule, pyad_tape *core, uint32_t block,
                               const pyad_operand *const *tangents, pyad_operand *result)
{
    PyGILState_STATE state = PyGILState_Ensure();
    python_rule *r = (python_rule *)rule;
    TapeObject *tape = owner_of(core);
    const pyad_block b = core->blocks[block];
    PyObject *out = tape ? recorded_outputs(r, tape, &b) : NULL, *found = NULL;
    PyObject *in = out ? recorded_inputs(r, tape, &b) : NULL;
    PyObject *given = in ? PyTuple_New(PyTuple_GET_SIZE(r->inputs)) : NULL;
    for (Py_ssize_t i = 0; given && i < PyTuple_GET_SIZE(given); i++) {
        PyObject *t = tangents[i] ? array_of_shaped(tape, PyTuple_GET_ITEM(r->inputs, i),
                                                    tangents[i])
                                  : Py_NewRef(Py_None);
        if (!t) {
            Py_CLEAR(given);
            break;
        }
        PyTuple_SET_ITEM(given, i, t);
    }
    if (given)
        found = tangents_of(r, out, in, given);
    int status = found ? PYAD_OK : fail();
    for (Py_ssize_t i = 0; !status && i < PyTuple_GET_SIZE(r->outputs); i++) {
        size_t size = size_of(PyTuple_GET_ITEM(r->outputs, i));
        if (operands_of(tape, PyTuple_GET_ITEM(found, i), size, result) < 0)
            status = fail();
        result += size;
    }
    Py_XDECREF(found);
    Py_XDECREF(given);
    Py_XDECREF(in);
    Py_XDECREF(out);
    PyGILState_Release(state);
    return status;
}

const pyad_rule rule_calls = {.reverse = rule_reverse,
                              .value = rule_value,
                              .pass = rule_pass,
                              .forward = rule_forward,
                              .record_reverse = rule_record_reverse,
                              .record_forward = rule_record_forward};
