"""Record: what one request was and how it went, for the log and the metrics. No prompt and no answer is in it."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from modelyard.types import Chunk

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(slots=True)
class Record:
    """One request.

    Attributes:
        id: of the request; the reply carries it as `X-Request-Id`.
        client: the name of the key, else the address.
        route: the path as the application knows it, without values.
        queued: seconds until it had a place; None where it needed none.
        first_token: seconds until the first token.
        cancelled: its client left before the end.
    """

    id: str
    method: str
    client: str = ""
    route: str = ""
    model: str = ""
    status: int = 0
    began: float = field(default_factory=time.monotonic)
    queued: float | None = None
    first_token: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish: str = ""
    cancelled: bool = False
    error: str = ""

    @property
    def passed(self) -> float:
        """Seconds since it came."""
        return time.monotonic() - self.began

    def admit(self) -> None:
        """It has its place."""
        if self.queued is None:
            self.queued = self.passed

    def note(self, chunk: Chunk) -> None:
        """What the last chunk of an answer says of it."""
        if chunk.usage is not None:
            self.prompt_tokens += chunk.usage.prompt_tokens
            self.completion_tokens += chunk.usage.completion_tokens
        if chunk.finish_reason is not None:
            self.finish = chunk.finish_reason

    def fields(self) -> dict[str, Any]:
        """Those that say something, as the log has them."""
        found: dict[str, Any] = {
            "id": self.id,
            "client": self.client,
            "method": self.method,
            "route": self.route,
        }
        found |= {"status": self.status, "seconds": round(self.passed, 4)}
        for name in ("model", "prompt_tokens", "completion_tokens", "finish", "cancelled", "error"):
            if value := getattr(self, name):
                found[name] = value
        for name in ("queued", "first_token"):
            if (value := getattr(self, name)) is not None:
                found[name] = round(value, 4)
        return found


def request_id(given: str | None) -> str:
    """The client's own id where it is a harmless one, else a fresh one."""
    return given if given and _ID.fullmatch(given) else secrets.token_hex(12)
