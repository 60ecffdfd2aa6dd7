"""The Hub's own inference client, over our connections.

The client knows the providers: their addresses, their names for a model, their bodies. How long is waited, what
is sent again, and which host gets the token is decided here, as for every other server.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

import httpx2
from huggingface_hub import AsyncInferenceClient
from huggingface_hub.errors import HfHubHTTPError

from modelyard.engines.endpoint.faults import refused, unreachable, unreadable
from modelyard.engines.endpoint.http import Http
from modelyard.errors import AuthenticationError, InvalidArgumentError, ModelyardError, ProviderAPIError

_CHAT = frozenset({
    "frequency_penalty", "logprobs", "max_tokens", "presence_penalty", "response_format", "seed", "stop",
    "stream_options", "temperature", "tool_choice", "tools", "top_logprobs", "top_p",
})  # fmt: skip
"""What the client takes by name; the rest goes into its `extra_body`."""


class InferenceWire:
    """Bodies to a hosted model, and the pieces of its answers.

    Args:
        http: connections, waits and retries.
        title: of the model, for messages.
        token: for the hosts of Hugging Face, or for the server that was named with it.
        anywhere: the token may go to any host: it was given for the one that is named.
        how: arguments of the client (`model` or `base_url`, `provider`, `bill_to`).
    """

    def __init__(
        self, http: Http, title: str, token: str | None, *, anywhere: bool, how: Mapping[str, Any]
    ) -> None:
        self._http, self._title, self._token, self._anywhere, self._how = http, title, token, anywhere, how

    async def chat(
        self, body: Mapping[str, Any], deadline: float | None = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Answers messages."""
        known = {name: value for name, value in body.items() if name in _CHAT}
        extra = {
            name: value for name, value in body.items() if name not in {*_CHAT, "messages", "model", "stream"}
        }
        async with self._client(deadline) as client:
            with self._named():
                pieces = await client.chat_completion(
                    body["messages"], model=body["model"], stream=True, extra_body=extra or None, **known
                )
                async for one in pieces:
                    yield dict(one)

    async def complete(
        self, body: Mapping[str, Any], deadline: float | None = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Goes on with a raw prompt, by the task `text-generation`."""
        how = _generation(body)
        # This task has the server's own address, chat has one below it.
        own = {"base_url": self._http.root} if "base_url" in self._how else {}
        async with self._client(deadline, **own) as client:
            with self._named():
                pieces = await client.text_generation(body["prompt"], details=True, stream=True, **how)
                async for one in pieces:
                    yield _as_completion(one)

    @contextlib.asynccontextmanager
    async def _client(self, deadline: float | None, **how: Any) -> AsyncIterator[AsyncInferenceClient]:
        """One for each request: it lets go of a stream only when it is closed itself."""
        token = (
            self._token or "none"
        )  # without any it would look for one, and send it wherever the url points
        own = _Requests(
            self._http, deadline, self._title, sends_token=self._token is not None, anywhere=self._anywhere
        )
        with self._named():
            client = _Client(own, token=token, **{**self._how, **how})
        try:
            yield client
        finally:
            await client.close()

    @contextlib.contextmanager
    def _named(self) -> Any:
        """The client's errors as ours."""
        try:
            yield
        except ModelyardError:
            raise
        except HfHubHTTPError as error:
            raise refused(self._title, error.response.status_code, str(error).encode()) from error
        except httpx2.TransportError as error:
            raise unreachable(self._title, error) from error
        except json.JSONDecodeError as error:
            raise unreadable(self._title, error.doc) from error
        except ValueError as error:
            if "api_key" in str(error) or "API key" in str(error):
                raise AuthenticationError(f"{self._title}: {error}") from error
            raise InvalidArgumentError(f"{self._title}: {error}", hint="") from error
        except (GeneratorExit, KeyboardInterrupt):
            raise
        except Exception as error:  # what a server says inside a stream has classes of its own there
            raise ProviderAPIError(f"{self._title}: {error or type(error).__name__}", hint="") from error


class _Client(AsyncInferenceClient):  # type: ignore[misc]  # untyped for mypy: loaded lazily
    """The Hub's client over our connections."""

    def __init__(self, requests: _Requests, **how: Any) -> None:
        super().__init__(**how)
        self._requests = requests

    async def _get_async_client(self) -> Any:
        return self._requests


class _Requests:
    """What the Hub's client sends with."""

    def __init__(
        self, http: Http, deadline: float | None, title: str, *, sends_token: bool, anywhere: bool
    ) -> None:
        self._http, self._deadline, self._title = http, deadline, title
        self._sends_token, self._anywhere = sends_token, anywhere

    @contextlib.asynccontextmanager
    async def stream(
        self, method: str, url: str, *, json: Any = None, headers: Mapping[str, str] | None = None, **_: Any
    ) -> AsyncIterator[_Response]:
        sent = {name: value for name, value in (headers or {}).items() if self._may_send(name, url)}
        async with self._http.opened(method, url, json, self._deadline, sent) as response:
            yield _Response(response, self._http, self._deadline)

    def _may_send(self, name: str, url: str) -> bool:
        if name.lower() != "authorization":
            return True
        return self._sends_token and (self._anywhere or of_the_hub(url))


class _Response:
    """A response whose lines are waited for as long as is agreed, and which is read to its end."""

    def __init__(self, response: httpx2.Response, http: Http, deadline: float | None) -> None:
        self._response, self._http, self._deadline = response, http, deadline

    def __getattr__(self, name: str) -> Any:
        return getattr(self._response, name)

    async def aiter_lines(self) -> AsyncGenerator[str, None]:
        async with contextlib.aclosing(self._http.lines(self._response, self._deadline)) as lines:
            async for line in lines:
                yield line


def of_the_hub(url: str) -> bool:
    """Whether a host is Hugging Face's, so that its token may go there.

    >>> of_the_hub("https://router.huggingface.co/v1"), of_the_hub("https://huggingface.co.evil.example")
    (True, False)
    """
    from urllib.parse import urlsplit

    from huggingface_hub import constants

    parts = urlsplit(url)
    host = parts.hostname or ""
    own = {urlsplit(one).netloc for one in (constants.ENDPOINT, constants.INFERENCE_PROXY_TEMPLATE)}
    if parts.netloc in own:
        return True
    ends = (".huggingface.co", ".huggingface.cloud", ".hf.space")
    return parts.scheme == "https" and (host == "huggingface.co" or host.endswith(ends))


def _generation(body: Mapping[str, Any]) -> dict[str, Any]:
    """A completion's body in the words of `text-generation`."""
    if body.get("presence_penalty"):
        raise InvalidArgumentError(
            "a raw prompt at the Inference API takes no 'presence_penalty'", hint="Leave it out."
        )
    greedy = not body.get("temperature")
    how = {
        "max_new_tokens": body["max_tokens"],
        "seed": body.get("seed"),
        "stop": body.get("stop"),
        "frequency_penalty": body.get("frequency_penalty") or None,
        "do_sample": not greedy,
        "return_full_text": False,
    }
    if not greedy:
        how |= {"temperature": body["temperature"], "top_p": body["top_p"] if body["top_p"] < 1 else None}
    return how


def _as_completion(one: Any) -> dict[str, Any]:
    """A piece of `text-generation` in the form of a completion's."""
    token = one["token"]
    text = "" if token.get("special") else token["text"]
    listed = {"content": [{"token": text, "id": token["id"], "logprob": token.get("logprob")}]}
    choice: dict[str, Any] = {"text": text, "logprobs": listed if text else None}
    found: dict[str, Any] = {"choices": [choice]}
    details = one.get("details")
    if details:
        choice["finish_reason"] = details["finish_reason"]
        if details.get("input_length"):
            found["usage"] = {
                "prompt_tokens": details["input_length"],
                "completion_tokens": details["generated_tokens"],
            }
    return found
