"""Checks without a model: regular expressions of one's own, and personal data by its form and check digits."""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from modelyard.errors import EngineNotInstalledError, InvalidArgumentError, nearest
from modelyard.safety.check import Check
from modelyard.types import Category, Span, Verdict

Finder = Callable[[str], Iterator[Span]]
"""Where something stands in a text."""


class PatternCheck(Check):
    """Objects to what matches one of several regular expressions.

    Args:
        patterns: what each is called, and the expression (Python's `re`, upper and lower case apart unless it says
            `(?i)`).
        name: in verdicts.

    >>> import asyncio
    >>> asyncio.run(PatternCheck({"project": r"Project \\w+"}).verdict("About Project Falcon")).flagged
    ('project',)
    """

    def __init__(self, patterns: Mapping[str, str], *, name: str = "patterns") -> None:
        if not patterns:
            raise InvalidArgumentError(f"check '{name}' has no patterns", hint="Name at least one.")
        self.name = name
        self._finders = {called: _finder(called, written) for called, written in patterns.items()}

    async def verdict(self, text: str, *, context: str = "") -> Verdict:
        # In a thread: an expression may take long on a long text.
        return await asyncio.to_thread(found_verdict, self.name, self._finders, text)


class PersonalDataCheck(Check):
    """Objects to personal data: e-mail addresses, telephone numbers, payment cards, IBANs, US social security
    numbers and IP addresses.

    Numbers with check digits count only where these are right (python-stdnum), telephone numbers only where they can
    be in use (phonenumbers). Names and addresses of people have no form, and are not found.

    Args:
        kinds: which of them; all by default.
        region: the country (`US`, `DE`) whose telephone numbers are read without `+`; none by default.
        name: in verdicts.
    """

    KINDS = ("email", "phone", "card", "iban", "us_ssn", "ip")

    def __init__(
        self, kinds: Sequence[str] | None = None, *, region: str | None = None, name: str = "personal data"
    ) -> None:
        wanted = tuple(kinds) if kinds is not None else self.KINDS
        for kind in wanted:
            if kind not in self.KINDS:
                raise InvalidArgumentError(
                    f"personal data of kind '{kind}' is not known.{nearest(kind, self.KINDS)}",
                    hint=f"Known: {', '.join(self.KINDS)}.",
                )
        _check_installed()
        finders: dict[str, Finder] = {
            "email": _matches(_EMAIL), "phone": lambda text: _phones(text, region), "card": _cards, "iban": _ibans,
            "us_ssn": _ssns, "ip": _addresses,
        }  # fmt: skip
        self.name = name
        self._finders = {kind: finders[kind] for kind in wanted}

    async def verdict(self, text: str, *, context: str = "") -> Verdict:
        return await asyncio.to_thread(found_verdict, self.name, self._finders, text)


def found_verdict(name: str, finders: Mapping[str, Finder], text: str) -> Verdict:
    """The verdict of what was found; an empty match is none."""
    found = {called: [one for one in find(text) if one.start < one.end] for called, find in finders.items()}
    spans = sorted(
        {one for several in found.values() for one in several}, key=lambda one: (one.start, -one.end)
    )
    categories = tuple(Category(called, flagged=bool(several)) for called, several in found.items())
    return Verdict(
        allowed=not spans,
        check=name,
        categories=tuple(sorted(categories, key=lambda one: not one.flagged)),
        window=Span(0, len(text)) if text else None,
        spans=tuple(spans),
    )


def _finder(called: str, written: str) -> Finder:
    try:
        return _matches(re.compile(written))
    except (re.error, TypeError) as error:
        raise InvalidArgumentError(
            f"pattern '{called}' is {written!r:.80}: {error}", hint="It is a regular expression."
        ) from None


def _matches(pattern: re.Pattern[str]) -> Finder:
    return lambda text: (Span(*one.span()) for one in pattern.finditer(text))


# -- personal data -----------------------------------------------------------------------------------------

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])")
_CARD = re.compile(r"(?<![\w.])\d(?:[ -]?\d){12,18}(?![\w])")
# Of the networks of ISO/IEC 7812 in use: Visa, Mastercard, American Express, Diners, JCB, Discover and UnionPay.
_ISSUED = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|(?:5[1-5]|2[2-7])\d{14}|3[47]\d{13}|3[0689]\d{12}|(?:35|6\d)\d{14,17}"
)
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}(?!\w)")
_SSN = re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])")
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])")


def _check_installed() -> None:
    try:
        import phonenumbers  # noqa: F401
        import stdnum  # noqa: F401
    except ImportError as error:
        raise EngineNotInstalledError(
            f"the check for personal data needs a package that is not installed: {error.name}",
            hint="pip install 'modelyard[safety]'",
        ) from None


def _phones(text: str, region: str | None) -> Iterator[Span]:
    from phonenumbers import Leniency, PhoneNumberMatcher

    for one in PhoneNumberMatcher(text, region, leniency=Leniency.VALID):
        yield Span(one.start, one.end)


def _cards(text: str) -> Iterator[Span]:
    from stdnum import luhn

    for one in _CARD.finditer(text):
        digits = re.sub(r"\D", "", one[0])
        if _ISSUED.fullmatch(digits) and luhn.is_valid(digits):
            yield Span(*one.span())


def _ibans(text: str) -> Iterator[Span]:
    from stdnum import iban

    for one in _IBAN.finditer(text):
        # A number in groups runs on into the words behind it: the longest part that is a number counts.
        words = one[0].split(" ")
        parts = (" ".join(words[:upto]) for upto in range(len(words), 0, -1))
        if (whole := next((part for part in parts if iban.is_valid(part)), None)) is not None:
            yield Span(one.start(), one.start() + len(whole))


def _ssns(text: str) -> Iterator[Span]:
    from stdnum.us import ssn

    for one in _SSN.finditer(text):
        if ssn.is_valid(one[0]):
            yield Span(*one.span())


def _addresses(text: str) -> Iterator[Span]:
    for pattern in (_IPV4, _IPV6):
        for one in pattern.finditer(text):
            try:
                ipaddress.ip_address(one[0])
            except ValueError:
                continue
            yield Span(*one.span())
