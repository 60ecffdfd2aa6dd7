"""ServerSettings: how the server listens, whom it lets in, and how much of everything it takes."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field, fields
from typing import Any

from modelyard.errors import InvalidArgumentError
from modelyard.serving.keys import ApiKeys

_LEAST: dict[str, float] = {
    "port": 0, "running": 1, "queue": 0, "deadline": 0.001, "drain": 0, "max_body": 1024, "max_messages": 1,
    "max_documents": 1, "max_answers": 1, "stuck_after": 1, "send_timeout": 0.1, "body_timeout": 0.1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What `modelyard serve` is told.

    Attributes:
        host: address to listen on; loopback unless told otherwise.
        port: 0 takes a free one.
        keys: who may use it; none lets everybody in, which only a loopback address may without `public`.
        public: listen on a public address without keys.
        hosts: names under which browsers may reach it, besides the address itself.
        image_hosts: hosts from which images are fetched; none, and only `data:` URLs are read.
        running: requests of one model that run at a time.
        queue: requests of one model that wait; one more is refused with 429.
        deadline: seconds that a request may take, waiting included; a request's own `timeout` may be shorter.
        drain: seconds that running work is given to finish after SIGTERM.
        max_body: bytes of a request.
        max_messages: messages of a conversation.
        max_documents: documents of one extraction.
        max_answers: answers to one request (`n`, times the prompts).
        stuck_after: seconds without a sign of life after which a model's process is ended.
        send_timeout: seconds that a reader may take nothing before his request is dropped.
        body_timeout: seconds in which a request has to arrive whole.
    """

    host: str = "127.0.0.1"
    port: int = 5000
    keys: ApiKeys = field(default_factory=ApiKeys)
    public: bool = False
    hosts: tuple[str, ...] = ()
    image_hosts: tuple[str, ...] = ()
    running: int = 64
    queue: int = 256
    deadline: float = 600.0
    drain: float = 30.0
    max_body: int = 20 * 2**20
    max_messages: int = 2000
    max_documents: int = 64
    max_answers: int = 16
    stuck_after: float = 60.0
    send_timeout: float = 30.0
    body_timeout: float = 30.0

    def __post_init__(self) -> None:
        for one in fields(self):
            value: Any = getattr(self, one.name)
            least = _LEAST.get(one.name)
            if least is not None and not least <= value < 1e12:
                raise InvalidArgumentError(
                    f"{one.name} is {value!r}", hint=f"It has to be {least:g} or more."
                )
        if self.port > 65535:
            raise InvalidArgumentError(f"port is {self.port}", hint="Ports end at 65535.")
        if not self.loopback and not self.keys and not self.public:
            raise InvalidArgumentError(
                f"host is {self.host}, which others can reach, and there are no API keys",
                hint="Give keys (--api-key-file, or MODELYARD_API_KEYS), or say --public if everybody may use it.",
            )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    @property
    def own_names(self) -> frozenset[str] | None:
        """The names that a `Host` header may have; None lets every name pass.

        A server that only this machine can reach is reached by its address. A web page that has its own name
        resolve to 127.0.0.1 (DNS rebinding) would get in by any other.
        """
        if self.loopback:
            return frozenset(("localhost", "127.0.0.1", "[::1]", self.host, *self.hosts))
        return frozenset(self.hosts) or None
