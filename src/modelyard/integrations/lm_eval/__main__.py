"""lm-eval's own command, with one more model: `python -m modelyard.integrations.lm_eval`."""

from __future__ import annotations

import sys

from modelyard.errors import ModelyardError, conduct


def main() -> None:
    """Entry point; arguments as those of `lm_eval`."""
    # As in `modelyard.cli`: OpenVINO goes on without its model converter and that one's telemetry client.
    sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]
    from lm_eval.__main__ import cli_evaluate

    try:
        cli_evaluate()
    except ModelyardError as error:
        from modelyard.catalog.auth import redact

        sys.stderr.write(redact(f"error: {error}") + "\n")
        sys.exit(conduct(error).exit_code)


if __name__ == "__main__":
    main()
