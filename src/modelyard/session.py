"""Session: a conversation with its history, saved and loaded as JSON."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path
from typing import Any

from modelyard import portal
from modelyard.create import create_llm
from modelyard.errors import InvalidArgumentError, PromptTooLongError, UnsupportedError
from modelyard.llm import LLM
from modelyard.messages import as_message
from modelyard.types import Chunk, Message, Result, Token

_FORM = 1


class Session:
    """A conversation with one model.

    Args:
        provider: the model, or its name.
        system_prompt: stands before the history.
        history: earlier turns.

    >>> session = Session("fake")
    >>> _ = session.generate("Hello", temperature=0)
    >>> [turn.role for turn in session.history]
    ['user', 'assistant']
    """

    def __init__(
        self, provider: LLM | str, *, system_prompt: str | None = None, history: list[Message] | None = None
    ) -> None:
        self.llm = create_llm(provider) if isinstance(provider, str) else provider
        self.system_prompt = system_prompt
        self.history: list[Message] = list(history or [])

    async def generate_async(self, prompt: str, **how: Any) -> Result:
        """Answers within the conversation; both turns are added when the answer is there.

        Raises:
            PromptTooLongError: the history has outgrown the context; says the counts and what to do.
        """
        messages = self._messages(prompt)
        try:
            result = await self.llm.generate_async(messages, **how)
        except PromptTooLongError as error:
            raise self._too_long(error) from error.__cause__
        self._end(prompt, result.tokens, result.text, result)
        return result

    async def stream_async(self, prompt: str, **how: Any) -> AsyncGenerator[Chunk, None]:
        """Answers piece by piece; both turns are added when the answer is whole, before its last piece."""
        tokens: list[Token] = []
        text = ""
        stream = self.llm.stream_async(self._messages(prompt), **how)
        try:
            async for chunk in stream:
                tokens += chunk.tokens
                text += chunk.text
                if chunk.finish_reason is not None:
                    self._end(prompt, tokens, text, chunk)
                yield chunk
        except PromptTooLongError as error:
            raise self._too_long(error) from error.__cause__
        finally:
            await stream.aclose()

    def generate(self, prompt: str, **how: Any) -> Result:
        """`generate_async`, waited for."""
        return portal.run(self.generate_async(prompt, **how))

    def stream(self, prompt: str, **how: Any) -> Iterator[Chunk]:
        """`stream_async`, for synchronous code."""
        return portal.iterate(self.stream_async(prompt, **how))

    def drop(self, turns: int) -> None:
        """Forgets the oldest turns, a question and its answer each."""
        del self.history[: 2 * turns]

    def clear(self) -> None:
        """Forgets the whole history; the system prompt stays."""
        self.history.clear()

    def save(self, path: str | Path) -> None:
        """Writes the conversation as JSON, whole or not at all.

        Raises:
            InvalidArgumentError: the path cannot be written.
            UnsupportedError: a turn holds an image.
        """
        if any(turn.images for turn in self.history):
            raise UnsupportedError(
                "a turn holds an image, and a saved session is text", hint="Drop that turn."
            )
        target = Path(path)
        data = {
            "modelyard_session": _FORM,
            "model": self.llm.spec.alias,
            "system_prompt": self.system_prompt,
            "history": [{"role": turn.role, "content": turn.text} for turn in self.history],
        }
        unfinished = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            unfinished.write_text(json.dumps(data, ensure_ascii=False, indent=2), "utf-8")
            unfinished.replace(target)
        except OSError as error:
            message = f"{path} cannot be written: {error.strerror}"
            raise InvalidArgumentError(message, hint="Give another path.") from error
        finally:
            unfinished.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path, provider: LLM | str | None = None) -> Session:
        """Reads a conversation back; with the model that it was held with unless another is given.

        Raises:
            InvalidArgumentError: the file cannot be read, or is no saved session.
        """
        try:
            data = json.loads(Path(path).read_text("utf-8"))
            form = data["modelyard_session"]
            history = [as_message(turn) for turn in data["history"]]
            system, model = data["system_prompt"], data["model"]
            if not isinstance(model, str) or not isinstance(system, str | None):
                raise TypeError("model and system_prompt are texts")
        except InvalidArgumentError as error:
            message = f"{path} is not a saved session: {error.message}"
            raise InvalidArgumentError(message, hint=error.hint) from error
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidArgumentError(f"{path} cannot be read: {error}", hint="Check the path.") from error
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            message = f"{path} is not a saved session: {type(error).__name__} {error}"
            raise InvalidArgumentError(message, hint="Save one first.") from error
        if form != _FORM:
            raise InvalidArgumentError(
                f"{path} has form {form}, this version reads {_FORM}", hint="Update modelyard."
            )
        return cls(provider or model, system_prompt=system, history=history)

    def _messages(self, prompt: str) -> list[Message]:
        if not prompt.strip():
            raise InvalidArgumentError("the prompt is empty", hint="Give it some text.")
        system = [Message("system", self.system_prompt)] if self.system_prompt else []
        return [*system, *self.history, Message("user", prompt)]

    def _end(self, prompt: str, tokens: Sequence[Token], text: str, last: Chunk | Result) -> None:
        """Both turns join the history, unless a safety check has refused one of them; what it masked stays masked."""
        if last.finish_reason == "content_filter":
            return
        hidden = any(one.side == "output" and one.action == "mask" for one in last.verdicts)
        answer = text if hidden else _answer(tokens)
        self.history += [Message("user", prompt), Message("assistant", answer)]

    def _too_long(self, error: PromptTooLongError) -> PromptTooLongError:
        turns = len(self.history) // 2
        if turns == 0:
            return error
        return PromptTooLongError(
            f"with its history of {turns} turns {error.message}",
            hint="Forget the oldest turns with session.drop(n), or all with session.clear().",
        )


def _answer(tokens: Sequence[Token]) -> str:
    """The answer alone, without the prompt that `return_full_text` puts in front of it."""
    return "".join(token.text for token in tokens)
