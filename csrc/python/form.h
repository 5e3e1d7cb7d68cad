/* Calls of compiled functions in C: forms.c, watch.c, calls.c. */
#pragma once
#include "handle.h"

extern PyTypeObject Form_Type, Watch_Type, Room_Type, Plan_Type, Calls_Type, Replay_Type;

/* ---- form.c: the structure of arguments or of a result, and its numbers ------------ */

typedef struct FormObject FormObject;

/* How many numbers there are in all. */
size_t form_size(const FormObject *form);
/* Reads the numbers of `x`, one after the other: 1; 0 if it has another structure, or the
 * slow way must look at it; -1 with an exception. No code of the user runs. */
int form_read(const FormObject *form, PyObject *x, double *into);
/* The numbers of `x` where they stand, if it is one contiguous array, else NULL. */
const double *form_data(const FormObject *form, PyObject *x);
/* What has this structure, with these numbers; NULL with an exception. */
PyObject *form_build(const FormObject *form, const double *numbers);
/* If it is one array, a new one whose numbers are not set yet, at *data; else NULL
 * without an exception. */
PyObject *form_empty(const FormObject *form, double **data);

/* ---- watch.c: what a function reads beside its arguments --------------------------- */

/* 1 if nothing changed, 0 if something did, -1 with an exception. */
int watch_is_same(PyObject *watch);
