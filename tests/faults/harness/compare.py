"""Multisets beside each other."""

from collections import Counter


class Different(AssertionError):
    """A check that failed."""


def same(what, found, wanted, show=5):
    """Fails unless both have the same rows, each as often."""
    found, wanted = Counter(found), Counter(wanted)
    if found == wanted:
        return sum(found.values())
    extra, missing = found - wanted, wanted - found
    lines = [f"{what}: {sum(found.values())} rows, {sum(wanted.values())} wanted"]
    for sign, side in (("too many", extra), ("missing", missing)):
        if side:
            lines.append(f"  {sign}: {sum(side.values())}")
            lines += [f"    {row!r} x{count}" for row, count in sorted(side.items(), key=repr)[:show]]
    raise Different("\n".join(lines))


def check(condition, what):
    if not condition:
        raise Different(what() if callable(what) else what)
