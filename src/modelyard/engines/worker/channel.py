"""The pipe between a worker engine and its child: typed messages, whole or not at all.

`multiprocessing.connection` frames them and `pickle` writes them. Both ends are ours and run as the same
user, so pickles are no way in that the child does not have anyway.
"""

from __future__ import annotations

import copyreg
import io
import pickle
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from modelyard.engines.worker.messages import Orders, Piece, Report
from modelyard.types import Chunk, Token, TopLogprob


def _token(one: Token) -> tuple[Any, ...]:
    return Token, (one.text, one.id, one.logprob, one.start, one.end, one.logprob_of, one.top)


def _top(one: TopLogprob) -> tuple[Any, ...]:
    return TopLogprob, (one.text, one.id, one.logprob)


def _chunk(one: Chunk) -> tuple[Any, ...]:
    if one.finish_reason is None and not one.warnings and not one.tool_calls:
        return Chunk, (one.text, one.tokens)
    return Chunk, (
        one.text, one.tokens, one.finish_reason, one.usage, one.timings, one.warnings, one.tool_calls,
    )  # fmt: skip


def _piece(one: Piece) -> tuple[Any, ...]:
    return Piece, (one.id, one.chunk)


# A frozen dataclass with slots is pickled field by field in Python. These four are most of the traffic;
# written as calls of their class they cost a quarter of it.
_TABLE: dict[type, Callable[[Any], Any]] = {
    **copyreg.dispatch_table,
    Token: _token,
    TopLogprob: _top,
    Chunk: _chunk,
    Piece: _piece,
}


class Channel:
    """One end of the pipe. One thread may send while another receives."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def send(self, message: Orders | Report) -> None:
        """Writes a message.

        Raises:
            OSError: the other end is gone.
            Exception: the message holds something that pickle cannot write; nothing has been sent.
        """
        buffer = io.BytesIO()
        pickler = pickle.Pickler(buffer, pickle.HIGHEST_PROTOCOL)
        pickler.dispatch_table = _TABLE
        pickler.dump(message)
        self._connection.send_bytes(buffer.getbuffer())

    def receive(self) -> Any:
        """The next message, waited for.

        Raises:
            EOFError, OSError: the other end is gone.
        """
        return pickle.loads(self._connection.recv_bytes())  # noqa: S301 (see above)

    def close(self) -> None:
        """Closes this end."""
        self._connection.close()
