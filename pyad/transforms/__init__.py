"""Transforms: functions that take a function and give one of its derivatives."""

from pyad.transforms.gradients import (
    derivative,
    elementwise_grad,
    grad,
    stop_gradient,
    value_and_grad,
)
from pyad.transforms.hessians import hessian, hessian_vector_product, hvp, make_hvp
from pyad.transforms.jacobians import jacfwd, jacobian, jacrev, jvp, make_jvp, make_vjp, vjp
from pyad.transforms.sparse import (
    SparseHessian,
    SparseJacobian,
    sparse_hessian,
    sparse_jacobian,
)

__all__ = [
    "SparseHessian",
    "SparseJacobian",
    "derivative",
    "elementwise_grad",
    "grad",
    "hessian",
    "hessian_vector_product",
    "hvp",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jvp",
    "make_hvp",
    "make_jvp",
    "make_vjp",
    "sparse_hessian",
    "sparse_jacobian",
    "stop_gradient",
    "value_and_grad",
    "vjp",
]
