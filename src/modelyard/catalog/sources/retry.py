"""Retry: when to try a request again, and how long to wait before."""

from __future__ import annotations

import email.utils
import random
import time
from dataclasses import dataclass

AGAIN = frozenset({408, 429, 500, 502, 503, 504})
"""The HTTP statuses after which the same request may succeed."""

_sleep = time.sleep  # tests put their own in its place


@dataclass(frozen=True, slots=True)
class Retry:
    """How often to try, and the waits in between: doubled each time, with a little chance in them.

    A server's own `Retry-After` takes their place, up to `longest` seconds.
    """

    attempts: int = 4
    first: float = 0.5
    longest: float = 60.0

    def wait(self, attempt: int, retry_after: str | None = None) -> None:
        """Waits after the given failed attempt, the first of which is 1."""
        asked = parse_retry_after(retry_after)
        own = backoff(attempt, self.first)
        _sleep(min(self.longest, own if asked is None else asked))


def backoff(attempt: int, first: float) -> float:
    """Seconds to wait after a failed attempt, the first of which is 1: doubled each time, with a little chance.

    Chance keeps many clients that failed together from coming back together.

    >>> 0.5 <= backoff(1, first=0.5) <= 0.625 and 2 <= backoff(3, first=0.5) <= 2.5
    True
    """
    doublings: float = 2.0 ** (attempt - 1)
    return first * doublings * (1 + random.random() / 4)  # noqa: S311  no secret hangs on it


def parse_retry_after(value: str | None) -> float | None:
    """Seconds of a `Retry-After` header, which holds seconds or a date (RFC 9110, 10.2.3).

    >>> parse_retry_after("3")
    3.0
    """
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())
