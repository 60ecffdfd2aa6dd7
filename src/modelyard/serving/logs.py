"""The server's log: one JSON object a line on stderr, or short lines where a person watches.

No prompt, answer, key or token ever gets in: what is logged is named field by field, and of an unexpected
error its type and its lines of code, not its message.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from typing import Any, Literal

LOG = logging.getLogger("modelyard.serving")
Form = Literal["json", "text"]


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {"time": f"{moment}.{record.msecs:03.0f}Z", "level": record.levelname.lower()}
        line |= {"event": record.getMessage(), **getattr(record, "fields", {})}
        if record.exc_info and record.exc_info[1] is not None:
            line |= where(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False, default=str)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = dict(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[1] is not None:
            fields |= where(record.exc_info[1])
        said = " ".join(f"{name}={value}" for name, value in fields.items())
        moment = time.strftime("%H:%M:%S", time.localtime(record.created))
        return f"{moment} {record.levelname.lower()} {record.getMessage()} {said}".rstrip()


def set_up(form: Form) -> None:
    """Sends the server's log, and what uvicorn has to say, to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    for name, level in (("modelyard.serving", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False


def say(event: str, level: int = logging.INFO, /, **fields: Any) -> None:
    """One line of the log."""
    LOG.log(level, event, extra={"fields": fields})


def where(error: BaseException) -> dict[str, Any]:
    """An error's type and its lines of code, without its message: that may quote what was sent."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f"{one.filename.rpartition('/')[2]}:{one.lineno} {one.name}" for one in frames[-12:]]
    return {"error": type(error).__name__, "at": lines}
