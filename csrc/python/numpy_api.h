/* NumPy's C interface, imported once (module.c) and shared by the files on arrays. */
#pragma once
#include "handle.h"

#define NPY_NO_DEPRECATED_API NPY_1_22_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL pyad_numpy_api
#ifndef PYAD_IMPORTS_NUMPY
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>
#include <numpy/ufuncobject.h>
