"""`generate` and `chat`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from modelyard.cli.arguments import Engine, Options, pairs
from modelyard.cli.settings import SETTINGS
from modelyard.cli.show import Waiting, print_json, print_warnings

Model = Annotated[str, typer.Argument(help="An alias of the catalogue, a Hub id, or a path.")]
System = Annotated[str | None, typer.Option("--system", help="System prompt.")]
Temperature = Annotated[float | None, typer.Option(help="0 is greedy.")]
MaxTokens = Annotated[int | None, typer.Option(help="Most tokens of the answer.")]
Adapter = Annotated[
    str | None, typer.Option(help="A LoRA adapter on the model: an alias, a Hub id or a path.")
]
Params = Annotated[
    list[str] | None, typer.Option("--param", "-p", help="Any sampling parameter, as name=value.")
]


def generate(
    model: Model,
    prompt: Annotated[str, typer.Argument(help="The prompt; - reads it from standard input.")],
    system: System = None,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the sampler.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="A string that ends the answer.")] = None,
    schema: Annotated[Path | None, typer.Option(help="A JSON Schema that the answer must keep.")] = None,
    regex: Annotated[
        str | None, typer.Option(help="A regular expression that the answer must match.")
    ] = None,
    choice: Annotated[list[str] | None, typer.Option(help="One of the answers to choose from.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Leave the chat template out.")] = False,
    timeout: Annotated[float | None, typer.Option(help="Seconds for the answer.")] = None,
    image: Annotated[list[Path] | None, typer.Option(help="An image that goes with the prompt.")] = None,
    adapter: Adapter = None,
    param: Params = None,
    engine: Engine = None,
    option: Options = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object with tokens and timings.")] = False,
) -> None:
    """Answer one prompt."""
    given = {
        "system_prompt": system, "temperature": temperature, "max_tokens": max_tokens, "seed": seed, "stop": stop,
        "schema": _schema(schema), "regex": regex, "choices": choice, "timeout": timeout,
        "images": image, "adapter": adapter,
    }  # fmt: skip
    how = {name: value for name, value in given.items() if value is not None} | _params(param)
    llm = SETTINGS.llm(model, engine=engine, options=pairs(option, "--option"))
    text = _stdin() if prompt == "-" else prompt
    several = how.get("num_return_sequences", 1) != 1
    if as_json or several:
        with Waiting(f"{model} answers"):
            result = llm.generate(text, raw=raw, **how)
        if as_json:
            print_json(result.to_dict())
        else:
            print("\n---\n".join(one.text for one in (result, *result.alternatives)))
            print_warnings(result.warnings)
        return
    _print_stream(llm.stream(text, raw=raw, **how), f"loading {model}")


def chat(
    model: Model,
    system: System = None,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    load: Annotated[Path | None, typer.Option(help="Go on with a saved conversation.")] = None,
    save: Annotated[Path | None, typer.Option(help="Save the conversation after every answer.")] = None,
    adapter: Adapter = None,
    param: Params = None,
    engine: Engine = None,
    option: Options = None,
) -> None:
    """Talk with a model; an empty line or Ctrl-D ends, Ctrl-C stops an answer."""
    from modelyard.errors import ModelyardError, PromptTooLongError
    from modelyard.session import Session

    llm = SETTINGS.llm(model, engine=engine, options=pairs(option, "--option"))
    session = Session.load(load, llm) if load else Session(llm)
    session.system_prompt = system or session.system_prompt
    given = {"temperature": temperature, "max_tokens": max_tokens, "adapter": adapter}
    how = {name: value for name, value in given.items() if value is not None} | _params(param)
    with Waiting(f"loading {model}"):
        llm.load()
    while line := _ask():
        try:
            _print_stream(session.stream(line, **how), "…")
        except KeyboardInterrupt:
            if not sys.stdin.isatty():
                raise
            print("\n(stopped; the question and its answer are forgotten)")
            continue
        except PromptTooLongError as error:
            if session.history:
                session.drop(1)
                error = PromptTooLongError(error.message, hint="The oldest turn is forgotten; ask again.")
            print(f"error: {error}", file=sys.stderr)
            continue
        except ModelyardError as error:
            print(f"error: {error}", file=sys.stderr)
            continue
        if save:
            session.save(save)


def _ask() -> str:
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return ""
    except UnicodeDecodeError as error:
        raise _not_text(error) from error


def _stdin() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise _not_text(error) from error


def _not_text(error: UnicodeDecodeError) -> Exception:
    from modelyard.errors import InvalidArgumentError

    return InvalidArgumentError(
        f"standard input is no {error.encoding} text: {error.reason}", hint="Convert it first."
    )


def _print_stream(chunks: Any, waiting: str) -> None:
    spinner = Waiting(waiting)
    with spinner:
        for chunk in chunks:
            if chunk.text:
                spinner.stop()
                sys.stdout.write(chunk.text)
                sys.stdout.flush()
            last = chunk
    print()
    print_warnings(last.warnings)
    if last.finish_reason == "length":
        print("(cut at max_tokens)", file=sys.stderr)


def _schema(path: Path | None) -> Any:
    if path is None:
        return None
    from modelyard.errors import SchemaError

    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SchemaError(f"{path} cannot be read: {error.strerror}", hint="Check --schema.") from error
    except ValueError as error:
        raise SchemaError(f"{path} is not JSON: {error}", hint="Check --schema.") from error


def _params(given: list[str] | None) -> dict[str, Any]:
    from modelyard.params import canonical

    return canonical(pairs(given, "--param"), where="--param")
