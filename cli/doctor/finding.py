"""Findings: what a check saw, how bad it is, and what mends it; checks run side by side, each with its own patience."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum

from domain.errors import JourneysError
from domain.values import Value


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Finding(Value):
    """What a check saw.

    Attributes:
        check: What was looked at, in a word or two.
        fix: What to do about it; empty if nothing has to be done.
    """

    check: str
    level: Level
    said: str
    fix: str = ""


Check = Callable[[], Awaitable[Sequence[Finding]]]


def ok(check: str, said: str) -> Finding:
    """All is well."""
    return Finding(check=check, level=Level.OK, said=said)


def warning(check: str, said: str, fix: str) -> Finding:
    """It works, and could be better or may not work everywhere."""
    return Finding(check=check, level=Level.WARNING, said=said, fix=fix)


def problem(check: str, said: str, fix: str) -> Finding:
    """It does not work, or harms."""
    return Finding(check=check, level=Level.PROBLEM, said=said, fix=fix)


async def examined(checks: Mapping[str, Check], patience_s: float) -> list[Finding]:
    """Run checks side by side and return what they found, in the order of the checks.

    Args:
        checks: By name, for a check that does not come to an end.
        patience_s: How long each may take.
    """

    async def one(name: str, check: Check) -> Sequence[Finding]:
        try:
            async with asyncio.timeout(patience_s):
                return await check()
        except TimeoutError:
            return [problem(name, f"no answer within {patience_s:g} s", "see whether it is up and can be reached")]
        except JourneysError as error:
            return [problem(name, str(error), "see docs/operating.md")]
        except Exception as error:  # noqa: BLE001 - one check that breaks must not hide what the others found
            return [problem(name, f"the check itself failed: {type(error).__name__}", "please report this")]

    found = await asyncio.gather(*(one(name, check) for name, check in checks.items()))
    return [finding for findings in found for finding in findings]
