"""Templates: prompts with the values of a row in them. Jinja in a sandbox: a task file is data, not a program."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from modelyard.errors import SchemaError


def render(source: str, values: Mapping[str, Any], *, where: str) -> str:
    """The text of a template.

    >>> render("{{ question }} ({{ choices | join(' or ') }})", {"question": "Q?", "choices": ["a", "b"]}, where="x")
    'Q? (a or b)'

    Raises:
        SchemaError: the template is malformed, or names a value that is not there.
    """
    import jinja2

    try:
        found: str = _compiled(source).render(**values)
        return found
    except jinja2.UndefinedError as error:
        known = ", ".join(sorted(map(str, values)))
        raise SchemaError(f"{where}: {error.message}", hint=f"There are: {known}.") from None
    except jinja2.TemplateError as error:
        raise SchemaError(f"{where}: the template cannot be used: {error}", hint="Mend it.") from None


def names(source: str, *, where: str) -> frozenset[str]:
    """The values that a template asks for.

    >>> sorted(names("{{ a }} {% if b %}{{ b }}{% endif %}", where="x"))
    ['a', 'b']
    """
    import jinja2
    from jinja2 import meta

    try:
        return frozenset(meta.find_undeclared_variables(_environment().parse(source)))
    except jinja2.TemplateError as error:
        raise SchemaError(f"{where}: the template cannot be used: {error}", hint="Mend it.") from None


@functools.lru_cache(maxsize=256)
def _compiled(source: str) -> Any:
    return _environment().from_string(source)


@functools.cache
def _environment() -> Any:
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=False
    )
