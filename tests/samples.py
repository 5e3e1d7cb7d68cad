"""Where the operations are tested: deterministic points of each row's domain."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Iterator
from itertools import product

from pyad._binding import Operation

__all__ = ["DENORMAL", "LARGEST", "Point", "is_inside", "parse_domain", "points"]

Point = tuple[float, ...]

LARGEST = sys.float_info.max
NORMAL = sys.float_info.min  # the smallest
DENORMAL = 5e-324  # the smallest
INF = math.inf


def parse_domain(text: str) -> tuple[float, ...] | list[float]:
    """(low, high) of an open interval, or the list of the numbers of a set."""
    numbers = [float(number) for number in text[1:-1].split(",")]
    if text[0] + text[-1] == "()" and len(numbers) == 2:
        return (numbers[0], numbers[1])
    assert text[0] + text[-1] == "{}", f"a domain is '(low, high)' or '{{a, b, ...}}', not {text!r}"
    return numbers


def is_inside(x: float, text: str) -> bool:
    domain = parse_domain(text)
    return x in domain if isinstance(domain, list) else domain[0] < x < domain[1]


def powers_of_two(rng: random.Random, low: float, high: float, count: int) -> Iterator[float]:
    """Numbers of either sign with exponents spread evenly from `low` to `high`."""
    for _ in range(count):
        size = math.ldexp(1 + rng.random(), rng.randrange(int(low), int(high)))
        yield size if rng.random() < 0.5 else -size


def samples(text: str, rng: random.Random, count: int) -> list[float]:
    """Numbers of a domain: even, of all magnitudes, near 0 and 1 and close to both ends."""
    domain = parse_domain(text)
    if isinstance(domain, list):
        return domain
    low, high = domain
    found = [-1e3, -1.0, -DENORMAL, 0.0, DENORMAL, NORMAL, 1.0, 2.0, 1e3, LARGEST, -LARGEST]
    found += [rng.uniform(max(low, -50.0), min(high, 50.0)) for _ in range(count)]
    found += powers_of_two(rng, -1074, 1024, count)
    found += powers_of_two(rng, -30, 10, count)
    for end in {low, high, 1.0} - {INF, -INF}:
        found += [end * (1 + sign * 2.0**-k) for k in range(4, 54, 7) for sign in (1, -1)]
        found += [math.nextafter(end, INF), math.nextafter(end, -INF)]
    if max(-low, high) < INF:
        found += [rng.uniform(low, high) for _ in range(count)]
    return [x for x in found if is_inside(x, text)]


def around(center: float) -> list[float]:
    return [center, *(center * (1 + sign * 2.0**-k) for k in range(10, 53, 6) for sign in (1, -1))]


def pow_points(rng: random.Random) -> Iterator[Point]:
    """Bases of all magnitudes, exponents for which the power nearly always is a float."""
    for size in [*powers_of_two(rng, -1022, 1023, 100), *around(1.0), *around(4.0)]:
        a = abs(size)
        log = math.log(a) or 1e-17
        yield from ((a, rng.uniform(-745, 745) / log) for _ in range(2))
        yield a, rng.choice((-1, 1)) * rng.uniform(700, 750) / log
    for b in (-2.0, -1.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0):
        yield from ((abs(a), b + d) for a in powers_of_two(rng, -400, 400, 8) for d in (0, 1e-9))


def close_points(rng: random.Random) -> Iterator[Point]:
    """Two numbers near each other, and a moderate distance apart at any magnitude."""
    for a in powers_of_two(rng, -60, 60, 60):
        yield a, a * (1 + math.ldexp(rng.uniform(-1, 1), rng.randrange(-52, 0)))
        yield a, a + rng.uniform(-750, 750)


NEAR: dict[str, Callable[[random.Random], Iterator[Point]]] = {
    "sin": lambda rng: ((x,) for k in (1, 2, 11, 1e6) for x in around(k * math.pi)),
    "cos": lambda rng: ((x,) for k in (1, 3, 11, 1e6) for x in around(k * math.pi / 2)),
    "tan": lambda rng: ((x,) for k in (1, 2, 11, 1e6) for x in around(k * math.pi / 2)),
    "gamma": lambda rng: (
        (x,) for x in [*around(1.4616321449683622), *around(-0.5040830082644554)]
    ),
    "lgamma": lambda rng: ((x,) for x in [*around(1.4616321449683622), *around(2.0)]),
    "digamma": lambda rng: ((x,) for x in around(1.4616321449683622)),
    "exp": lambda rng: ((x,) for x in powers_of_two(rng, 3, 9, 60)),
    "erf": lambda rng: ((rng.uniform(-27.5, 27.5),) for _ in range(60)),
    "erfc": lambda rng: ((rng.uniform(-6, 27.5),) for _ in range(60)),
    "ndtr": lambda rng: ((rng.uniform(-39, 10),) for _ in range(60)),
    "pow": pow_points,
    "sub": close_points,
    "mod": close_points,
    "fmod": close_points,
    "remainder": close_points,
    "floordiv": close_points,
    "atan2": close_points,
    "hypot": close_points,
    "logaddexp": lambda rng: (
        *close_points(rng),
        *((math.log(p), math.log1p(-p)) for p in (rng.random() for _ in range(40))),
    ),
}
"""More points where a row has zeros, poles, or passes from one formula to another."""


def points(row: Operation, density: int = 1) -> list[Point]:
    """The same points at every call; `density` times as many random ones, to search for more."""
    rng = random.Random(row.name)
    near = NEAR.get(row.name, lambda rng: iter(()))
    more = [point for _ in range(density) for point in near(rng)]
    a = samples(row.domain_a, rng, 40 * density)
    if row.arguments == 1:
        return [*((x,) for x in a), *more]
    b = samples(row.domain_b, rng, 40 * density)
    if len(a) < 10:
        return [*product(a, b), *more]
    return [*((rng.choice(a), rng.choice(b)) for _ in range(200 * density)), *more]
