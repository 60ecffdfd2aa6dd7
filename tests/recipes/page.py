"""A recipe's page, as its blocks of code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "docs" / "recipes"
FILES = frozenset({"csv", "ini", "json", "text", "yaml"})
"""Languages whose blocks are files, under the name that the title says."""
LANGUAGES = FILES | {"bash", "python"}
_TITLE = re.compile(r'title="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        title: of the fence; for a file its name.
        line: of the page, on which the code begins.
    """

    page: str
    language: str
    title: str
    text: str
    line: int

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.language})"


def pages() -> list[Path]:
    """All recipes."""
    return sorted(RECIPES.glob("*.md"))


def read_blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order; also those that stand in a list."""
    found = []
    for token in MarkdownIt().parse(page.read_text("utf-8")):
        if token.type in ("fence", "code_block"):
            language, _, rest = token.info.partition(" ")
            title = _TITLE.search(rest)
            assert token.map is not None
            line = token.map[0] + 2
            found.append(Block(page.name, language, title[1] if title else "", token.content, line))
    return found
