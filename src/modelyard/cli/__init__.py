"""The command line: parse, call, print. `main` turns what goes wrong into one message and an exit code."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Entry point of the `modelyard` command."""
    from modelyard.errors import ModelyardError, conduct

    # OpenVINO's import brings its model converter along, and with it a telemetry client. The command uses
    # neither; OpenVINO goes on without them, and starts 0.07 s sooner.
    sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]
    code = 0
    try:
        from modelyard.cli.app import app

        result = app(standalone_mode=False)
        code = result if isinstance(result, int) else 0
        sys.stdout.flush()  # here, where a reader who has left is no error
    except ModelyardError as error:
        from modelyard.catalog.auth import redact

        sys.stderr.write(redact(f"error: {error}") + "\n")
        code = conduct(error).exit_code
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        # The reader of a pipe has left (`| head`): nothing more can be written, and nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except Exception as error:
        code = _usage(error)
    _leave(code)


def _usage(error: Exception) -> int:
    import typer

    if isinstance(error, typer.Exit):
        return int(error.exit_code)
    if isinstance(error, typer.Abort):
        return 130
    if hasattr(error, "show") and hasattr(
        error, "exit_code"
    ):  # click's own: a wrong option, a missing argument
        error.show()
        return int(error.exit_code)
    raise error


def _leave(code: int) -> None:
    """Ends the process; after Ctrl-C without waiting for a load that is under way."""
    if code == 130:
        sys.stderr.write("\nstopped\n")
        if "modelyard.pool" in sys.modules:
            from modelyard.pool import default_pool

            default_pool().close()
        if "modelyard.engines.workspace" in sys.modules:
            from modelyard.engines.workspace import clean_up

            clean_up()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
