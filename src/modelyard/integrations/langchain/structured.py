"""Structured answers: what schema is meant, and an answer read by it, strictly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pydantic
from langchain_core.exceptions import ModelRefusalError, OutputParserException
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.output_parsers import JsonOutputParser
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.utils.function_calling import convert_to_json_schema
from langchain_core.utils.pydantic import is_basemodel_subclass

from modelyard.errors import InvalidArgumentError

_ANY_OBJECT: dict[str, Any] = {"type": "object"}


def json_schema(schema: Any) -> dict[str, Any]:
    """The JSON Schema that is meant by a pydantic class, a TypedDict, an OpenAI function or a JSON Schema.

    >>> json_schema({"name": "f", "parameters": {"type": "object"}})
    {'type': 'object'}

    Raises:
        InvalidArgumentError: it is none of these.
    """
    if isinstance(schema, Mapping):
        function = schema.get("function", schema)
        if isinstance(function, Mapping) and isinstance(function.get("name"), str):
            named = function.get("parameters", function.get("schema"))
            if isinstance(named, Mapping):
                return dict(named)
        return dict(schema)
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        cls: Any = schema
        found: dict[str, Any] = (
            cls.model_json_schema() if issubclass(cls, pydantic.BaseModel) else cls.schema()
        )
        return found
    if isinstance(schema, type):
        return convert_to_json_schema(schema)
    raise InvalidArgumentError(
        f"schema is {schema!r:.80}",
        hint="Pass a pydantic class, a TypedDict class or a JSON Schema (a dict).",
    )


def response_schema(given: Any) -> dict[str, Any] | None:
    """The schema that OpenAI's `response_format` asks for; None for plain text.

    Raises:
        InvalidArgumentError: it has another form.
    """
    if isinstance(given, type):
        return json_schema(given)
    match given:
        case {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return _ANY_OBJECT
        case {"type": "json_schema", "json_schema": {"schema": Mapping() as schema}}:
            return dict(schema)
    raise InvalidArgumentError(
        f"response_format is {given!r:.80}",
        hint="It is {'type': 'json_schema', 'json_schema': {'schema': …}} or {'type': 'json_object'}.",
    )


def instruction(schema: Mapping[str, Any]) -> str:
    """What a question ends with, so that the model knows the fields before the grammar asks for them.

    >>> instruction({"type": "object"}).splitlines()[-1]
    '{"type": "object"}'
    """
    return f"Answer with JSON of this schema:\n{json.dumps(schema, ensure_ascii=False)}"


class AnswerParser(JsonOutputParser):
    """Reads the JSON of an answer, or of its call of a tool; an answer that was cut or refused is an error.

    LangChain's own parsers complete JSON that was cut short, and return None where no tool is called.

    Attributes:
        pydantic_object: the class that the answer is validated by; None leaves it a dict.
        tool: the tool whose arguments are the answer.
    """

    tool: str | None = None

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """The answer, as an object of the class or as a dict.

        Args:
            result: one generation.
            partial: whether the answer may be still on its way.

        Raises:
            ModelRefusalError: a safety check stopped the answer.
            OutputParserException: the answer was cut, is no JSON, or breaks the schema.
        """
        first = result[0]
        message = first.message if isinstance(first, ChatGeneration) else AIMessage(content=first.text)
        finish = message.response_metadata.get("finish_reason")
        if partial and finish is None:
            return self._so_far(result)
        if finish == "content_filter":
            raise ModelRefusalError("a safety check stopped the answer", raw_message=message)
        found = self._called(message) if self.tool else self._written(message)
        return self._validated(found, message)

    def _so_far(self, result: list[Generation]) -> Any:
        found = None if self.tool else super().parse_result(result, partial=True)
        if self.pydantic_object is None or not isinstance(found, dict):
            return found if isinstance(found, dict) else None
        try:
            return self._of_class(found)
        except (pydantic.ValidationError, pydantic.v1.ValidationError):
            return None  # its fields have not all come yet

    def _written(self, message: BaseMessage) -> Any:
        try:
            return json.loads(str(message.text))
        except (ValueError, RecursionError) as error:
            raise _unread(message, f"the answer is no JSON ({error})") from error

    def _called(self, message: BaseMessage) -> Any:
        calls = message.tool_calls if isinstance(message, AIMessage) else []
        found = next((one["args"] for one in calls if one["name"] == self.tool), None)
        if found is None:
            raise _unread(message, f"the answer has no call of '{self.tool}' that can be read")
        return found

    def _validated(self, found: Any, message: BaseMessage) -> Any:
        if self.pydantic_object is None:
            return found
        try:
            return self._of_class(found)
        except (pydantic.ValidationError, pydantic.v1.ValidationError) as error:
            raise OutputParserException(
                f"the answer breaks the schema of {self.pydantic_object.__name__}: {error}",
                llm_output=str(message.text),
            ) from error

    def _of_class(self, found: Any) -> Any:
        cls: Any = self.pydantic_object
        return cls.model_validate(found) if issubclass(cls, pydantic.BaseModel) else cls.parse_obj(found)


def _unread(message: BaseMessage, problem: str) -> OutputParserException:
    """The error of an answer that cannot be read: that it was cut is the better explanation."""
    text = str(message.text)
    if message.response_metadata.get("finish_reason") == "length":
        usage = message.usage_metadata if isinstance(message, AIMessage) else None
        count = f"after {usage['output_tokens']} tokens" if usage else "by its length"
        problem = f"the answer was cut {count}, before its JSON ended: raise max_tokens"
    return OutputParserException(f"{problem}: {text:.200}", llm_output=text)
