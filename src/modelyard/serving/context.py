"""What a route needs beyond its body: the server's parts, and the record of the request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from modelyard.serving.images.intake import ImageIntake
from modelyard.serving.metrics import Metrics
from modelyard.serving.models import Models, Served
from modelyard.serving.record import Record
from modelyard.serving.replies import EventReply, JsonReply
from modelyard.serving.settings import ServerSettings
from modelyard.serving.work import Works

RECORD = "modelyard.record"
"""Where a request's record is in its scope."""


@dataclass(slots=True)
class Parts:
    """The parts of a running server; `draining` says that it takes no new work."""

    settings: ServerSettings
    models: Models
    metrics: Metrics
    works: Works
    images: ImageIntake
    draining: bool = False


class Context:
    """The server's parts as one request sees them."""

    def __init__(self, request: Request) -> None:
        self.parts: Parts = request.app.state.parts
        self.record: Record = request.scope[RECORD]

    def find(self, name: str) -> Served:
        """The served model of that name, noted in the record."""
        served = self.parts.models.find(name)
        self.record.model = served.name
        return served

    def reply(self, answer: object) -> JsonReply:
        """A JSON reply of a coroutine."""
        return JsonReply(answer, self.record, self.parts.works)  # type: ignore[arg-type]

    def events(self, events: object) -> EventReply:
        """A stream of events."""
        patience = self.parts.settings.send_timeout
        return EventReply(events, self.record, self.parts.works, patience)  # type: ignore[arg-type]


def _context(request: Request) -> Context:
    return Context(request)


Here = Annotated[Context, Depends(_context)]
"""The context as an argument of a route."""
