/* What each thread is doing: its tape, and whether it records. The state lives in the
 * dict that CPython keeps for a thread, and goes with it; the last one asked for is
 * remembered. */
#include "handle.h"

TapeObject no_tape = {.live = 0};
PyThreadState *fast_owner;
TapeObject *fast_tape = &no_tape;
static thread_state *fast_state;

static const char STATE_KEY[] = "pyad.thread_state";

static void forget(thread_state *thread)
{
    if (fast_state == thread) {
        fast_owner = NULL;
        fast_tape = &no_tape;
        fast_state = NULL;
    }
}

static void thread_free(PyObject *capsule)
{
    thread_state *thread = PyCapsule_GetPointer(capsule, STATE_KEY);
    forget(thread);
    thread->tape->live = 0;
    Py_DECREF(thread->tape);
    while (thread->depth)
        Py_DECREF(thread->entered[--thread->depth]);
    PyMem_Free(thread->entered);
    PyMem_Free(thread);
}

static thread_state *thread_new(PyObject *states)
{
    thread_state *thread = PyMem_Calloc(1, sizeof *thread);
    TapeObject *tape = thread ? tape_new_default() : NULL;
    PyObject *capsule = tape ? PyCapsule_New(thread, STATE_KEY, NULL) : NULL;
    int status = capsule ? PyDict_SetItemString(states, STATE_KEY, capsule) : -1;
    if (status < 0) {
        if (!PyErr_Occurred())
            PyErr_NoMemory();
        PyMem_Free(thread);
        Py_XDECREF((PyObject *)tape);
        Py_XDECREF(capsule);
        return NULL;
    }
    thread->tape = tape;
    PyCapsule_SetDestructor(capsule, thread_free); /* only now: it owns what it frees */
    Py_DECREF(capsule);
    thread_refresh(thread);
    return thread;
}

thread_state *thread_here(void)
{
    PyThreadState *owner = PyThreadState_Get();
    if (owner == fast_owner)
        return fast_state;
    PyObject *states = PyThreadState_GetDict();
    if (!states)
        return (thread_state *)PyErr_NoMemory();
    PyObject *key = PyUnicode_FromString(STATE_KEY);
    PyObject *capsule = key ? PyDict_GetItemWithError(states, key) : NULL;
    Py_XDECREF(key);
    if (PyErr_Occurred()) /* no second state because the first could not be looked up */
        return NULL;
    thread_state *thread =
        capsule ? PyCapsule_GetPointer(capsule, STATE_KEY) : thread_new(states);
    if (thread) {
        fast_owner = owner;
        fast_tape = thread->tape;
        fast_state = thread;
    }
    return thread;
}

TapeObject *tape_here(void)
{
    thread_state *thread = thread_here();
    return thread ? thread->tape : NULL;
}

void thread_refresh(thread_state *thread)
{
    TapeObject *tape = thread->tape;
    tape->live = thread->no_grad || thread->anomaly || tape->busy ? 0 : tape->generation;
    if (fast_state == thread)
        fast_tape = tape;
}
