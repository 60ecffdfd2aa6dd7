"""What the site takes from elsewhere: sections of the README, the command's own help, the list of decisions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_README = re.compile(r"<!-- readme: (.+?) -->")
_COMMANDS = "<!-- commands -->"


def on_config(config: Any) -> Any:
    """Lists the pages that a pattern of the navigation means."""
    config["nav"] = _listed(config["nav"], Path(config["docs_dir"]))
    return config


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Puts the README's sections and the command's help where a page asks for them."""
    markdown = _README.sub(lambda asked: readme_section(asked[1]), markdown)
    return markdown.replace(_COMMANDS, "\n".join(command_help())) if _COMMANDS in markdown else markdown


def _listed(nav: Any, docs: Path) -> Any:
    if isinstance(nav, list):
        return [_listed(one, docs) for one in nav]
    if isinstance(nav, dict):
        return {title: _listed(value, docs) for title, value in nav.items()}
    if "*" in nav:
        return [file.relative_to(docs).as_posix() for file in sorted(docs.glob(nav))]
    return nav


# -- the README ----------------------------------------------------------------------------------------------


def readme_section(title: str) -> str:
    """A section of the README with its heading; `Introduction` is what stands before the first one.

    Raises:
        KeyError: there is no such section.
    """
    sections = dict(_sections((ROOT / "README.md").read_text("utf-8")))
    return sections[title].replace("](docs/", "](").replace("](CHANGELOG.md", "](changelog.md")


def _sections(text: str) -> Iterator[tuple[str, str]]:
    """The sections under headings of the second level, the fences' own `##` left alone."""
    name, lines, fenced = "Introduction", [], False
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        if line.startswith("# ") and not fenced:
            continue
        if line.startswith("## ") and not fenced:
            yield name, "\n".join(lines)
            name, lines = line[3:], []
        lines.append(line)
    yield name, "\n".join(lines)


# -- the command ---------------------------------------------------------------------------------------------


def command_help() -> Iterator[str]:
    """The help of `modelyard` and all its commands, as Markdown."""
    import typer
    from typer.main import get_command

    from modelyard.cli.app import app

    command = get_command(app)
    yield from _described(command, typer.Context(command, info_name="modelyard"))


def _described(command: Any, context: Any) -> Iterator[str]:
    inside: dict[str, Any] = getattr(command, "commands", {})
    path = context.command_path
    level = 3 if path.count(" ") == 2 else 2
    yield from (f"{'#' * level} {path}", "", _text(command.help or ""), "")
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    yield from ("```text", re.sub(r"\{(\w+)\}", r"\1", usage), "```", "")
    for one in command.params:
        if record := one.get_help_record(context):
            yield from (f"`{_each(record[0])}`", f":   {_text(record[1])}", "")
    for name, one in inside.items():
        yield from _described(one, type(context)(one, info_name=name, parent=context))


def _each(names: str) -> str:
    """The names of an option, the value of one that may be given again told as one of several.

    >>> _each("-o, --option <list[str]>")
    '-o, --option <str> …'
    """
    return re.sub(r"<list\[(.+)\]>", r"<\1> …", names.replace("... <", " <")).replace("<Path>", "<path>")


def _text(text: str) -> str:
    """Help as it is read on a terminal, with the signs escaped that Markdown would take."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(
        part if part.startswith("`") else re.sub(r"([*_<>\[\]|])", r"\\\1", part) for part in parts
    )
