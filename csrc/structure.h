/* Which partials of an operation can be other than 0: see structure.c. */
#pragma once
#include "ops.h"

/* Of an operation of any number of arguments, a stands for those at even places, b for
 * those at odd ones; AB alone then crosses each with its partner (dot), and all three
 * cross every argument with every other. */
enum {
    PYAD_IN_A = 1,
    PYAD_IN_B = 2,
    PYAD_CURVED_AA = 4,
    PYAD_CURVED_AB = 8,
    PYAD_CURVED_BB = 16,
    PYAD_CURVED = PYAD_CURVED_AA | PYAD_CURVED_AB | PYAD_CURVED_BB,
};

/* The operand (or the value) that a first partial is, in a (`which` 0) or b: 'A', 'B' or
 * 'V'; 0 if it is none of them. */
int pyad_op_partial_name(int op, int which);
