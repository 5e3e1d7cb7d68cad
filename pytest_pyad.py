"""The pytest plugin of pyad: the fixture `check_grads`.

pytest loads it in every project of an environment that has pyad, so it stands outside the package
and imports it in the fixture only: without use it costs no time at start-up, and pyad is not
imported before a coverage measurement begins. PYTEST_DONT_REWRITE: it asserts nothing.
"""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="session")
def check_grads() -> Any:
    """Return `pyad.check_grads(f, *args)`, which raises if derivatives of f are wrong."""
    import pyad

    return pyad.check_grads
