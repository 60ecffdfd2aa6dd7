"""A model in a process of its own, for callers whose event loop must not stand still."""

from __future__ import annotations

import sys

from modelyard.llm import LLM


def apart(llm: LLM) -> LLM:
    """The same model in a process of its own, unless its options say otherwise.

    Engines hold Python's lock while they work (OpenVINO for a whole step, a second for a long prompt), and the
    event loops of this process stand still meanwhile. On Windows there are no such processes.

    >>> from modelyard import create_llm
    >>> apart(create_llm("smollm2-135m")).options
    {'worker': True}
    """
    here = sys.platform == "win32" or llm.spec.engine == "fake"
    if here or "worker" in {**llm.spec.options, **llm.options}:
        return llm
    return llm.remade(options={**llm.options, "worker": True})
