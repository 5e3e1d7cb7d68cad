/* Operations whose adjoint is a rule of the Python layer: factorizations, transforms,
 * other libraries' functions. One block holds all results one after the other. A rule is
 *
 *     vjp(adjoints, outputs, inputs) -> the adjoints of the inputs
 *
 * (tuples of arrays; None for an adjoint that is zero), written in NumPy's functions: in
 * a native sweep it is given ndarrays, in a recorded one Arrays, so that the one rule
 * serves every order. The tangent of a result is a product with the same Jacobian: found
 * by differentiating the rule in its adjoints, in which it is linear. */
#pragma once
#include "array.h"

typedef struct {
    pyad_rule base;
    Py_ssize_t references; /* changed with the interpreter lock held */
    PyObject *vjp;
    PyObject *value;   /* of the numbers of the inputs: a tuple of the outputs */
    PyObject *inputs;  /* tuple: shapes of the inputs */
    PyObject *outputs; /* tuple: shapes of the outputs */
    PyObject *name;    /* str, in UTF-8 at base.name */
} python_rule;

/* ---- array_rule_sweep.c ----------------------------------------------------------- */

/* What the sweeps call: a rule without name and life. */
extern const pyad_rule rule_calls;
