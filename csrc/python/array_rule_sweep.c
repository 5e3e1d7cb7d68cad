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

/* ---- tuples for a rule ------------------------------------------------------------ */

/* What arrays are made of, one after the other or each for itself. */
typedef struct {
    TapeObject *tape;        /* of a recorded sweep */
    const pyad_block *block; /* whose results, or sources, they are */
    uint32_t number, start;  /* of the block; of the next of its results */
    const double *values, *const *each_values;
    const pyad_operand *operands, *const *each_operands;
} material;

typedef PyObject *array_maker(material *of, Py_ssize_t i, PyObject *shape);

static PyObject *tuple_of(PyObject *shapes, array_maker *make, material of)
{
    Py_ssize_t count = PyTuple_GET_SIZE(shapes);
    PyObject *tuple = PyTuple_New(count);
    for (Py_ssize_t i = 0; tuple && i < count; i++) {
        PyObject *array = make(&of, i, PyTuple_GET_ITEM(shapes, i));
        if (array)
            PyTuple_SET_ITEM(tuple, i, array);
        else
            Py_CLEAR(tuple);
    }
    return tuple;
}

static PyObject *next_values(material *of, Py_ssize_t i, PyObject *shape)
{
    (void)i;
    PyObject *array = shaped(shape, of->values);
    of->values += size_of(shape);
    return array;
}

static PyObject *own_values(material *of, Py_ssize_t i, PyObject *shape)
{
    const double *values = of->each_values[i];
    return values ? shaped(shape, values) : Py_NewRef(Py_None);
}

/* An Array of operands, in the shape given: rows of the tape. */
static PyObject *array_of_shaped(TapeObject *tape, PyObject *shape, const pyad_operand *x)
{
    Py_ssize_t sides[NPY_MAXDIMS];
    int ndim = shape_read(shape, sides);
    return ndim < 0 ? NULL : array_of_operands(tape, ndim, sides, x);
}

static PyObject *next_operands(material *of, Py_ssize_t i, PyObject *shape)
{
    (void)i;
    PyObject *array = array_of_shaped(of->tape, shape, of->operands);
    of->operands += size_of(shape);
    return array;
}

static PyObject *own_operands(material *of, Py_ssize_t i, PyObject *shape)
{
    const pyad_operand *x = of->each_operands[i];
    return x ? array_of_shaped(of->tape, shape, x) : Py_NewRef(Py_None);
}

/* Nodes of the tape that follow each other. */
static PyObject *array_of_run(TapeObject *tape, PyObject *shape, uint32_t block,
                              uint32_t start)
{
    Py_ssize_t sides[NPY_MAXDIMS];
    int ndim = shape_read(shape, sides);
    return ndim < 0
               ? NULL
               : (PyObject *)array_new(storage_of_run(tape, block, start, size_of(shape)),
                                       ndim, sides, NULL, 0);
}

static PyObject *next_result(material *of, Py_ssize_t i, PyObject *shape)
{
    (void)i;
    PyObject *array = array_of_run(of->tape, shape, of->number, of->start);
    of->start += (uint32_t)size_of(shape);
    return array;
}

static PyObject *own_source(material *of, Py_ssize_t i, PyObject *shape)
{
    const pyad_tape *core = of->tape->core;
    const pyad_source *x = &core->sources[of->block->first_source + (uint32_t)i];
    if (x->node == PYAD_CONSTANT)
        return shaped(shape, pyad_source_values(core, x));
    if (PyTuple_GET_SIZE(shape) == 0 || x->block == PYAD_NO_BLOCK)
        return array_of_shaped(of->tape, shape,
                               &(pyad_operand){core->values[x->node], x->node});
    return array_of_run(of->tape, shape, x->block, x->node);
}

/* ---- what a rule returned --------------------------------------------------------- */

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

/* results[] = what the rule returned for the outputs, one after the other. */
static int store_results(python_rule *r, PyObject *returned, double *results)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(returned); i++) {
        PyArrayObject *given = (PyArrayObject *)PyArray_FROMANY(
            PyTuple_GET_ITEM(returned, i), NPY_DOUBLE, 0, 0, NPY_ARRAY_CARRAY_RO);
        const size_t size = size_of(PyTuple_GET_ITEM(r->outputs, i));
        if (given && (size_t)PyArray_SIZE(given) != size) {
            raise_error(PYAD_ERROR_ARGUMENTS,
                        "an operation with a rule gave a result, or its tangent, of "
                        "another shape than when it was recorded");
            Py_CLEAR(given);
        }
        if (!given)
            return fail();
        memcpy(results, PyArray_DATA(given), size * sizeof *results);
        results += size;
        Py_DECREF(given);
    }
    return PYAD_OK;
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

/* ---- native sweeps ---------------------------------------------------------------- */

static int rule_pass(pyad_rule *rule, const double *const *in, const double *out,
                     const double *own, double *const *shares)
{
    PyGILState_STATE state = PyGILState_Ensure();
    python_rule *r = (python_rule *)rule;
    PyObject *adjoints = NULL;
    PyObject *g = tuple_of(r->outputs, next_values, (material){.values = own});
    PyObject *outputs =
        g ? tuple_of(r->outputs, next_values, (material){.values = out}) : NULL;
    PyObject *inputs =
        outputs ? tuple_of(r->inputs, own_values, (material){.each_values = in}) : NULL;
    if (inputs)
        adjoints = checked(
            r->inputs, PyObject_CallFunctionObjArgs(r->vjp, g, outputs, inputs, NULL));
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
    PyObject *inputs = tuple_of(r->inputs, own_values, (material){.each_values = in});
    PyObject *values =
        inputs ? checked(r->outputs, PyObject_Call(r->value, inputs, NULL)) : NULL;
    int status = values ? store_results(r, values, results) : fail();
    Py_XDECREF(values);
    Py_XDECREF(inputs);
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
    const double **in = sources_of(tape, b);
    PyObject *out = NULL, *inputs = NULL, *given = NULL;
    if (in)
        out = tuple_of(r->outputs, next_values,
                       (material){.values = tape->values + b->start});
    if (out)
        inputs = tuple_of(r->inputs, own_values, (material){.each_values = in});
    if (inputs)
        given = tuple_of(r->inputs, own_values, (material){.each_values = tangents});
    PyMem_Free(in);
    PyObject *found = given ? tangents_of(r, out, inputs, given) : NULL;
    int status = found ? store_results(r, found, result) : fail();
    Py_XDECREF(found);
    Py_XDECREF(given);
    Py_XDECREF(inputs);
    Py_XDECREF(out);
    PyGILState_Release(state);
    return status;
}

/* ---- recorded sweeps -------------------------------------------------------------- */

/* The tape whose core this is: recorded sweeps run on the tape of the thread. */
static TapeObject *owner_of(const pyad_tape *core)
{
    TapeObject *tape = tape_here();
    if (tape && tape->core != core)
        raise_error(PYAD_ERROR_MIXED_TAPES, "a recorded sweep");
    return tape && tape->core == core ? tape : NULL;
}

/* The operands of what a rule returned for one array. */
static int operands_of(TapeObject *tape, PyObject *given, size_t size, pyad_operand *x)
{
    PyArrayObject *values = NULL, *rows = NULL;
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
    }
    const uint32_t *row = rows ? PyArray_DATA(rows) : NULL;
    if (status == 0 && row)
        status = array_check_rows(size, row);
    for (size_t i = 0; status == 0 && i < size; i++)
        x[i] = (pyad_operand){((const double *)PyArray_DATA(values))[i],
                              row && row[i] ? row[i] - 1 : PYAD_CONSTANT};
    Py_XDECREF((PyObject *)values);
    Py_XDECREF((PyObject *)rows);
    Py_XDECREF((PyObject *)a);
    return status;
}

/* What a rule is given of its block on the tape being recorded. */
static int read_recorded(python_rule *r, TapeObject *tape, uint32_t block, PyObject **out,
                         PyObject **in)
{
    const pyad_block b = tape->core->blocks[block]; /* the tape may move */
    const material of = {.tape = tape, .block = &b, .number = block, .start = b.start};
    *out = tuple_of(r->outputs, next_result, of);
    *in = *out ? tuple_of(r->inputs, own_source, of) : NULL;
    return *in ? 0 : -1;
}

static int rule_record_reverse(pyad_rule *rule, pyad_tape *core, uint32_t block,
                               const pyad_operand *own, pyad_operand *const *shares)
{
    PyGILState_STATE state = PyGILState_Ensure();
    python_rule *r = (python_rule *)rule;
    TapeObject *tape = owner_of(core);
    PyObject *g = NULL, *out = NULL, *in = NULL, *adjoints = NULL;
    if (tape)
        g = tuple_of(r->outputs, next_operands,
                     (material){.tape = tape, .operands = own});
    if (g && read_recorded(r, tape, block, &out, &in) == 0)
        adjoints =
            checked(r->inputs, PyObject_CallFunctionObjArgs(r->vjp, g, out, in, NULL));
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

static int rule_record_forward(pyad_rule *rule, pyad_tape *core, uint32_t block,
                               const pyad_operand *const *tangents, pyad_operand *result)
{
    PyGILState_STATE state = PyGILState_Ensure();
    python_rule *r = (python_rule *)rule;
    TapeObject *tape = owner_of(core);
    PyObject *out = NULL, *in = NULL, *given = NULL;
    if (tape && read_recorded(r, tape, block, &out, &in) == 0)
        given = tuple_of(r->inputs, own_operands,
                         (material){.tape = tape, .each_operands = tangents});
    PyObject *found = given ? tangents_of(r, out, in, given) : NULL;
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
