"""A Python that runs blocks one after another in one namespace, as a notebook does.

Run as `python -m tests.recipes.console`: a block a line comes in as JSON, what it printed goes out likewise.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Any


def main() -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print beneath Python goes where errors go
    names: dict[str, Any] = {"__name__": "__main__"}
    for line in sys.stdin:
        replies.write(json.dumps(_run(json.loads(line), names)) + "\n")
        replies.flush()


def _run(block: dict[str, str], names: dict[str, Any]) -> dict[str, Any]:
    import contextlib
    import io

    printed, error = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(block["text"], block["name"], "exec"), names)
        except BaseException:
            error = traceback.format_exc()
    return {"printed": printed.getvalue(), "error": error}


if __name__ == "__main__":
    main()
