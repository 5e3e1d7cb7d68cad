"""Completes `handle.pyi.in` from the operation table, so that an operation needs no second row."""

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROW = re.compile(r'^(UNARY|BINARY) *\( *\w+, *(\w+), *"(\w*)"', re.MULTILINE)

UNARY = """@overload
def {name}(a: Var, /) -> Var: ...
@overload
def {name}(a: Dual, /) -> Dual: ...
@overload
def {name}(a: float, /) -> float: ...
@overload
def {name}(a: Array, /) -> Array: ...
@overload
def {name}(a: npt.ArrayLike, /) -> npt.NDArray[Any]: ..."""
BINARY = """@overload
def {name}(a: Var, b: _Number, /) -> Var: ...
@overload
def {name}(a: float, b: Var, /) -> Var: ...
@overload
def {name}(a: Dual, b: _DualNumber, /) -> Dual: ...
@overload
def {name}(a: float, b: Dual, /) -> Dual: ...
@overload
def {name}(a: float, b: float, /) -> float: ...
@overload
def {name}(a: Array, b: _Operand, /) -> Array: ...
@overload
def {name}(a: _Operand, b: Array, /) -> Array: ...
@overload
def {name}(a: _Scalar | npt.ArrayLike, b: _Scalar | npt.ArrayLike, /) -> Any: ..."""


def stub() -> str:
    """The text of `pyad/_handle.pyi`."""
    table = (HERE.parent / "ops.def").read_text(encoding="utf-8")
    rows = ROW.findall(table)
    known = {name for _, name, _ in rows}
    names, methods, functions = [], [], []
    for kind, name, numpy in rows:
        names.append(f'    "{name}",')
        functions.append((UNARY if kind == "UNARY" else BINARY).format(name=name))
        other = "" if kind == "UNARY" else ", other: _Number, /"
        for method in [name, *({numpy} - known - {""})]:
            methods.append(f"    def {method}(self{other}) -> Var: ...")
    text = (HERE / "handle.pyi.in").read_text(encoding="utf-8")
    text = text.replace("    # names", "\n".join(names))
    text = text.replace("    # methods", "\n".join(methods))
    common = text[text.index("    # common\n") : text.index("@final\nclass Dual")].rstrip()
    of_dual = common.replace("_Number", "_DualNumber").replace("Var", "Dual")
    text = text.replace("    # common to Var and Dual", of_dual)
    return text.replace("# functions", "\n".join(functions))


def write() -> None:
    """Write the stub beside the package's modules."""
    (HERE.parent.parent / "pyad" / "_handle.pyi").write_text(stub(), encoding="utf-8")
