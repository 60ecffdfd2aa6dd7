"""Token: the Hugging Face token, found where people keep it, and kept out of every message."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

VARIABLES = ("HF_TOKEN", "HUGGINGFACE_API_TOKEN", "HUGGINGFACE_API_KEY", "HUGGING_FACE_HUB_TOKEN")

_SECRETS = (
    (re.compile(r"\bhf_[A-Za-z0-9]{6,}(?!\w)"), "hf_***"),
    (re.compile(r"(?<=://)[^/@\s'\"]+(?=@)"), "***"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}"), r"\1 ***"),
)
_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")


@dataclass(frozen=True, slots=True)
class Token:
    """A token and where it was found; its value is in no repr."""

    value: str = field(repr=False)
    where: str


def find_token(folder: Path | None = None) -> Token | None:
    """The first token found: in the environment, in `.env` of the folder (here), in the login file.

    >>> Token("hf_secret", "HF_TOKEN")
    Token(where='HF_TOKEN')
    """
    return next(_tokens(folder or Path()), None)


def redact(text: str) -> str:
    """The text with every token and every password of a URL taken out.

    >>> redact("https://me:secret@index.example/simple said no to hf_abcdefgh")
    'https://***@index.example/simple said no to hf_***'
    """
    for token in _tokens(Path()):
        # A very short "token" (a placeholder) would tear holes into ordinary words.
        if len(token.value) >= 6:
            text = text.replace(token.value, "***")
    for pattern, mask in _SECRETS:
        text = pattern.sub(mask, text)
    return text


def _tokens(folder: Path) -> Iterator[Token]:
    for name in VARIABLES:
        if value := os.environ.get(name, "").strip():
            yield Token(value, name)
    written = _dotenv(folder / ".env")
    for name in VARIABLES:
        if value := written.get(name, ""):
            yield Token(value, f".env ({name})")
    login = _login_file()
    if value := _text(login).strip():
        yield Token(value, str(login))


def _dotenv(file: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in _text(file).splitlines():
        if match := _ASSIGNMENT.fullmatch(line.strip()):
            found[match[1]] = _unquoted(match[2].strip())
    return found


def _unquoted(value: str) -> str:
    for quote in "'\"":
        if value.startswith(quote) and (end := value.find(quote, 1)) > 0:
            return value[1:end]
    return re.split(r"\s#", value)[0].strip()


def _login_file() -> Path:
    if given := os.environ.get("HF_TOKEN_PATH"):
        return Path(given).expanduser()
    return hub_home() / "token"


def hub_home() -> Path:
    """The folder of the Hub's own client: `HF_HOME`, else `huggingface` in the user's cache folder."""
    if given := os.environ.get("HF_HOME"):
        return Path(os.path.expandvars(given)).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface"


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
