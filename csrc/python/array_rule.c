/* Operations whose adjoint is a rule of the Python layer: factorizations, transforms,
 * other libraries' functions. One block holds all results one after the other. A rule is
 *
 *     vjp(adjoints, outputs, inputs) -> the adjoints of the inputs
 *
 * (tuples of arrays; None for an adjoint that is zero), written in NumPy's functions: in
 * a native sweep it is given ndarrays, in a recorded one Arrays, so that the one rule
 * serves every order. The tangent of a result is a product with the same Jacobian: found
 * by differentiating the rule in its adjoints, in which it is linear. */
#include "array.h"

#include <string.h>

#include "../buffer.h"

typedef struct {
    pyad_rule base;
    Py_ssize_t references; /* changed with the interpreter lock held */
    PyObject *vjp;
    PyObject *value;   /* of the numbers of the inputs: a tuple of the outputs */
    PyObject *inputs;  /* tuple: shapes of the inputs */
    PyObject *outputs; /* tuple: shapes of the outputs */
    PyObject *name;    /* str, in UTF-8 at base.name */
} python_rule;

/* ---- life ------------------------------------------------------------------------- */

static pyad_rule *rule_retain(pyad_rule *rule)
{
    PyGILState_STATE state = PyGILState_Ensure();
    ((python_rule *)rule)->references++;
    PyGILState_Release(state);
    return rule;
}

static void rule_release(pyad_rule *rule)
{
    PyGILState_STATE state = PyGILState_Ensure();
    python_rule *r = (python_rule *)rule;
    if (--r->references == 0) {
        Py_XDECREF(r->vjp);
        Py_XDECREF(r->value);
        Py_XDECREF(r->inputs);
        Py_XDECREF(r->outputs);
        Py_XDECREF(r->name);
        PyMem_Free(r);
    }
    PyGILState_Release(state);
}

/* ---- calling ---------------------------------------------------------------------- */

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

/* ---- recording -------------------------------------------------------------------- */

static python_rule *rule_new(const char *name, PyObject *value, PyObject *vjp,
                             PyObject *inputs, PyObject *outputs)
{
    PyObject *text = PyUnicode_FromString(name);
    const char *kept = text ? PyUnicode_AsUTF8(text) : NULL;
    python_rule *r = kept ? PyMem_Malloc(sizeof *r) : NULL;
    if (!r) {
        Py_XDECREF(text);
        return (python_rule *)raise_error(PYAD_ERROR_NO_MEMORY);
    }
    *r = (python_rule){.base = {.reverse = rule_reverse,
                                .value = rule_value,
                                .pass = rule_pass,
                                .forward = rule_forward,
                                .record_reverse = rule_record_reverse,
                                .record_forward = rule_record_forward,
                                .retain = rule_retain,
                                .release = rule_release,
                                .name = kept},
                       .name = text,
                       .references = 1,
                       .vjp = Py_NewRef(vjp),
                       .value = Py_NewRef(value),
                       .inputs = Py_NewRef(inputs),
                       .outputs = Py_NewRef(outputs)};
    return r;
}

static PyObject *shape_tuple(int ndim, const Py_ssize_t *shape)
{
    PyObject *tuple = PyTuple_New(ndim);
    for (int i = 0; tuple && i < ndim; i++)
        PyTuple_SET_ITEM(tuple, i, PyLong_FromSsize_t(shape[i]));
    return tuple;
}

/* Arrays of the results, which lie in one block one after the other. */
static PyObject *split_block(TapeObject *tape, uint32_t block, PyObject *values)
{
    Py_ssize_t count = PyTuple_GET_SIZE(values);
    PyObject *results = PyTuple_New(count);
    uint32_t start = tape->core->blocks[block].start;
    for (Py_ssize_t i = 0; results && i < count; i++) {
        PyArrayObject *value = (PyArrayObject *)PyTuple_GET_ITEM(values, i);
        size_t size = (size_t)PyArray_SIZE(value);
        int ndim = PyArray_NDIM(value);
        PyObject *result =
            ndim == 0
                ? var_of_node(tape, tape->generation, tape->core->values[start], start)
                : (PyObject *)array_new(storage_of_run(tape, block, start, size), ndim,
                                        PyArray_DIMS(value), NULL, 0);
        if (!result) {
            Py_DECREF(results);
            return NULL;
        }
        if (ndim == 0)
            pyad_block_mark(tape->core, block);
        PyTuple_SET_ITEM(results, i, result);
        start += (uint32_t)size;
    }
    return results;
}

/* Outputs as contiguous ndarrays of floats; their numbers one after the other in a
 * buffer. */
static double *gather_outputs(PyObject *values, size_t *count)
{
    *count = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(values); i++) {
        PyArrayObject *value = (PyArrayObject *)PyTuple_GET_ITEM(values, i);
        if (!PyArray_Check(value) || PyArray_TYPE(value) != NPY_DOUBLE ||
            !PyArray_IS_C_CONTIGUOUS(value))
            return (double *)raise_error(
                PYAD_ERROR_ARGUMENTS,
                "the values of a rule are C-contiguous ndarrays of floats");
        *count += (size_t)PyArray_SIZE(value);
    }
    double *all = PyMem_Malloc((*count + 1) * sizeof(double)), *next = all;
    if (!all)
        return (double *)raise_error(PYAD_ERROR_NO_MEMORY);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(values); i++) {
        PyArrayObject *value = (PyArrayObject *)PyTuple_GET_ITEM(values, i);
        memcpy(next, PyArray_DATA(value), (size_t)PyArray_SIZE(value) * sizeof(double));
        next += PyArray_SIZE(value);
    }
    return all;
}

/* _call(name, values, vjp, inputs): records an operation on the inputs (a tuple) whose
 * results have these values (a tuple of ndarrays); a tuple of Arrays, Vars for 0-d
 * results, or the values themselves if nothing is to be recorded. */
PyObject *array_call(PyObject *module, PyObject *args)
{
    const char *name;
    PyObject *values, *value_function, *vjp, *inputs;
    (void)module;
    if (!PyArg_ParseTuple(args, "sO!OOO!", &name, &PyTuple_Type, &values, &value_function,
                          &vjp, &PyTuple_Type, &inputs))
        return NULL;
    Py_ssize_t count = PyTuple_GET_SIZE(inputs);
    array_operand *operand = PyMem_Calloc((size_t)count + 1, sizeof *operand);
    pyad_vector *v = PyMem_Calloc((size_t)count + 1, sizeof *v);
    void **scratch = PyMem_Calloc((size_t)count + 1, sizeof *scratch);
    PyObject *in_shapes = PyTuple_New(count),
             *out_shapes = PyTuple_New(PyTuple_GET_SIZE(values)), *result = NULL;
    array_operands o = {.name = name, .count = (size_t)count, .x = operand};
    int status = operand && v && scratch && in_shapes && out_shapes ? 0 : -1;
    for (Py_ssize_t i = 0; status == 0 && i < count; i++) {
        int known = array_operand_read(&operand[i], PyTuple_GET_ITEM(inputs, i), name);
        if (known == 0)
            raise_not_a_number(name, PyTuple_GET_ITEM(inputs, i));
        status = known > 0 ? 0 : -1;
        if (status == 0)
            PyTuple_SET_ITEM(in_shapes, i,
                             shape_tuple(operand[i].ndim, operand[i].shape));
    }
    if (status == 0)
        status = array_operands_open(&o);
    size_t total = 0;
    double *all = status == 0 ? gather_outputs(values, &total) : NULL;
    if (all && (!o.tape || total == 0)) {
        array_operands_undo(&o);
        result = Py_NewRef(values);
    } else if (all) {
        uint32_t block;
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(values); i++) {
            PyArrayObject *value = (PyArrayObject *)PyTuple_GET_ITEM(values, i);
            PyTuple_SET_ITEM(out_shapes, i,
                             shape_tuple(PyArray_NDIM(value), PyArray_DIMS(value)));
        }
        for (Py_ssize_t i = 0; status == 0 && i < count; i++) {
            status = array_operand_vector(&o, &operand[i], operand[i].ndim,
                                          operand[i].shape, &v[i], &scratch[i]);
        }
        python_rule *r = status == 0
                             ? rule_new(name, value_function, vjp, in_shapes, out_shapes)
                             : NULL;
        if (r) {
            status = pyad_block_call(o.tape->core, &r->base, total, all, (size_t)count, v,
                                     &block);
            rule_release(&r->base);
            thread_state *thread = thread_here();
            if (status)
                raise_error(status);
            else if (thread && !(thread->anomaly &&
                                 array_operands_watch(&o, block, out_shapes) < 0))
                result = split_block(o.tape, block, values);
        }
        if (!result)
            array_operands_undo(&o);
    }
    PyMem_Free(all);
    for (Py_ssize_t i = 0; operand && i < count; i++) {
        array_operand_release(&operand[i]);
        if (scratch)
            Py_XDECREF((PyObject *)scratch[i]);
    }
    Py_XDECREF(in_shapes);
    Py_XDECREF(out_shapes);
    PyMem_Free(operand);
    PyMem_Free(v);
    PyMem_Free(scratch);
    if (!result && !PyErr_Occurred())
        PyErr_NoMemory();
    return result;
}
