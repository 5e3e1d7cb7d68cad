"""The pages are true: their code prints what stands below it, their tables are up to date."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

import pyad

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


def blocks() -> list[pytest.param]:
    """Every Python block of every page, with the output that the page shows."""
    found = []
    for page in PAGES:
        for number, match in enumerate(BLOCK.finditer(page.read_text(encoding="utf-8"))):
            found.append(pytest.param(*match.groups(), id=f"{page.name}-{number}"))
    return found


@pytest.mark.parametrize(("code", "shown"), blocks())
def test_code_block_runs_and_prints_what_the_page_shows(code: str, shown: str | None) -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "<page>", "exec"), {"__name__": "page"})
    if shown is not None:
        assert printed.getvalue() == shown


def test_readme_shows_an_example_with_its_output_early() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert "```python" in lines[:15]


def test_operations_page_is_that_of_the_table() -> None:
    source = ROOT / "docs" / "make_operations.py"
    spec = importlib.util.spec_from_file_location("make_operations", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert page == module.page(), "run: python docs/make_operations.py"


def test_reading_path_is_short_and_its_line_counts_hold() -> None:
    page = (ROOT / "docs" / "how_it_works.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(csrc/[\w.]+)`.*?\| (\d+) \|", page, re.MULTILINE)
    counts = {file: int(count) for file, count in rows}
    assert len(counts) == 4
    assert sum(counts.values()) <= 150
    sweep = (ROOT / "csrc" / "sweep.c").read_text(encoding="utf-8")
    body = sweep[: sweep.index("\n}\n", sweep.index("reverse_one"))]
    assert body.count("\n") + 2 <= counts["csrc/sweep.c"]
    for file in ("csrc/tape.h", "csrc/record.h"):
        text = (ROOT / file).read_text(encoding="utf-8")
        assert len(text.splitlines()) <= counts[file]


def test_links_lead_to_files() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_adding_an_operation_takes_the_row_that_the_page_shows(tmp_path: Path) -> None:
    """The C library with that one row more computes the new operation and its partials."""
    page = (ROOT / "docs" / "adding_an_operation.md").read_text(encoding="utf-8")
    row = re.search(r"^```c\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert row is not None
    (tmp_path / "blocks").mkdir()
    for source in [*(ROOT / "csrc").glob("*.*"), *(ROOT / "csrc" / "blocks").glob("*.*")]:
        text = source.read_text(encoding="utf-8")
        if source.name == "ops.def":
            mark = "/* ---- gamma family"
            text = text.replace(mark, row.group(1) + mark)
        copied = tmp_path / source.relative_to(ROOT / "csrc")
        copied.write_text(text, encoding="utf-8")
    program = """
        #include <stdio.h>
        #include "ops.h"
        #include "pyad.h"
        int main(void)
        {
            pyad_partials p;
            pyad_op_partials(PYAD_OP_LOGCOSH, 1.5, 0, &p);
            printf("%.17g %.17g %.17g\\n", p.value, p.da, p.daa);
            return 0;
        }
    """
    (tmp_path / "main.c").write_text(program, encoding="utf-8")
    compiler = (sysconfig.get_config_var("CC") or "cc").split()
    sources = [str(path) for path in tmp_path.rglob("*.c")]
    command = [*compiler, "-std=c11", "-o", str(tmp_path / "main"), *sources, "-lm"]
    subprocess.run(command, check=True)
    run = subprocess.run([str(tmp_path / "main")], check=True, capture_output=True, text=True)
    value, da, daa = map(float, run.stdout.split())
    x = pyad.var(1.5)
    expected = pyad.log(pyad.cosh(x))
    assert value == pytest.approx(expected.value, rel=1e-15)
    assert da == pytest.approx(pyad.gradient(expected, x), rel=1e-14)
    assert daa == pytest.approx(1 - da * da, rel=1e-13)
