"""API keys: read from a file or the environment, compared in constant time, never kept in the clear."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from modelyard.errors import InvalidArgumentError

VARIABLE = "MODELYARD_API_KEYS"
_SHORTEST = 16


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """Names and the hashes of their keys; false when there are none.

    >>> keys = ApiKeys.of(["reports:0123456789abcdef"])
    >>> keys.owner("Bearer 0123456789abcdef"), keys.owner("Bearer nonsense")
    ('reports', None)
    """

    hashes: tuple[tuple[str, bytes], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.hashes)

    @property
    def joint(self) -> str | None:
        """One key made of all of them, for servers behind one another that know the same keys; None where there are none.

        >>> ApiKeys.of(["0123456789abcdef"]).joint == ApiKeys.of(["reports:0123456789abcdef"]).joint
        True
        """
        if not self.hashes:
            return None
        return hashlib.sha256(b"modelyard" + b"".join(sorted(known for _, known in self.hashes))).hexdigest()

    @classmethod
    def of(cls, lines: Iterable[str], where: str = "API keys") -> Self:
        """Keys as they are written: one a line, `key` or `name:key`; empty lines and `#` comments are skipped.

        Raises:
            InvalidArgumentError: a key is too short or has white space, or a name is given twice.
        """
        found: dict[str, bytes] = {}
        for at, line in enumerate(lines, 1):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            name, colon, key = text.partition(":")
            if not colon:
                name, key = f"key {len(found) + 1}", text
            if len(key) < _SHORTEST or not key.isascii() or not key.isprintable() or " " in key:
                raise InvalidArgumentError(
                    f"{where}, line {at}: a key has to be {_SHORTEST} or more printable characters without spaces",
                    hint='`python -c "import secrets; print(secrets.token_urlsafe(32))"` makes one.',
                )
            if name in found:
                raise InvalidArgumentError(f"{where}, line {at}: '{name}' is given twice", hint="Rename one.")
            found[name] = _hash(key)
        return cls(tuple(found.items()))

    @classmethod
    def read(cls, file: Path | None) -> Self:
        """The keys of a file, else those of `MODELYARD_API_KEYS` (separated by commas or lines).

        Raises:
            InvalidArgumentError: the file cannot be read or holds no key, or a key is no good.
        """
        if file is None:
            return cls.of(os.environ.get(VARIABLE, "").replace(",", "\n").splitlines(), VARIABLE)
        try:
            found = cls.of(file.read_text("utf-8").splitlines(), str(file))
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise InvalidArgumentError(f"the key file {file} cannot be read: {reason}", hint="") from None
        if not found:
            raise InvalidArgumentError(f"the key file {file} holds no key", hint="Write one key a line.")
        return found

    def owner(self, authorization: str | None) -> str | None:
        """Whose key an `Authorization` header carries, None where it is nobody's.

        Bearer is for programs; Basic, with the key as the password, is what a browser asks its user for.
        """
        given = _given(authorization or "")
        if given is None:
            return None
        digest = _hash(given)
        owner = None
        for name, known in self.hashes:  # all of them: the time says nothing about which one it was
            if hmac.compare_digest(digest, known):
                owner = name
        return owner


def _given(authorization: str) -> str | None:
    scheme, _, value = authorization.partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer":
        return value
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
