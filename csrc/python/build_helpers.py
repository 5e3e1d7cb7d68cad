"""Collects the C functions that operations are made of, for `Compiled.to_c`.

`pyad/compiled/_helpers.py` gets each top-level definition of the numerical files as text, by name.
"""

import re
from pathlib import Path

CSRC = Path(__file__).resolve().parent.parent
FILES = ("twofold.h", "accurate.c", "special.c", "normal.c", "logspace.c", "many.c", "number.h")
OPERATOR = re.compile(r"#define (?!PYAD_)")
NAMES = (
    re.compile(r"#(?:if[^\n]*\n)?\s*#?\s*define (\w+)"),
    re.compile(r"typedef .*?(\w+);\s*$", re.DOTALL),
    re.compile(r"[^=;{]*?\b(\w+)\s*(?:\(|\[|=)", re.DOTALL),
)


def definitions(text: str) -> dict[str, str]:
    """The definitions at the top level of a C file, comments left out, by the names they define."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    lines = iter([line.rstrip() for line in text.splitlines() if line.strip()])
    found = {}
    for line in lines:
        if re.match(r"#\s*(include|pragma|undef|ifndef PYAD_\w+_H|define PYAD_\w+_H|endif)", line):
            continue
        chunk = [line]
        depth = 0
        while True:
            last = chunk[-1]
            depth += last.count("{") - last.count("}")
            if line.startswith("#if"):
                depth = 0 if last.startswith("#endif") else 1
            if line.startswith("#define"):
                depth = int(last.endswith("\\"))
            if depth == 0 and (line.startswith("#") or last[-1] in ";}"):
                break
            chunk.append(next(lines))
        whole = "\n".join(chunk)
        name = next(match[1] for match in (rule.match(whole) for rule in NAMES) if match)
        found[name] = whole
    return found


def helpers() -> dict[str, str]:
    """All of them but the operators of the rows, which `pyad_op_source` expands."""
    found: dict[str, str] = {}
    for file in FILES:
        rows = definitions((CSRC / file).read_text(encoding="utf-8"))
        if file == "number.h":
            rows = {name: text for name, text in rows.items() if not OPERATOR.match(text)}
        found.update(rows)
    for name, text in found.items():
        if not text.startswith(("#", "static", "typedef")):
            found[name] = "static " + text
    return found


def write() -> None:
    """Write the module."""
    rows = "".join(f"    {name!r}: {text!r},\n" for name, text in helpers().items())
    head = '"""Definitions of the C library by name. Made by csrc/python/build_helpers.py."""\n'
    path = CSRC.parent / "pyad" / "compiled" / "_helpers.py"
    path.write_text(f"{head}\nHELPERS: dict[str, str] = {{\n{rows}}}\n", encoding="utf-8")
