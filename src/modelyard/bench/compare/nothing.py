"""Nothing: replies that say that there is no value.

>>> no_answer("N/A"), says_nothing("The filing does not report diluted EPS.")
(True, 'not report')
"""

from __future__ import annotations

import re

_STATES = (
    r"(?:report|avail|applicab|give|state|provide|disclose|mention|found|find|specif|known|contain|determine"
    r"|present|list|indicate)"
)
_WHOLE = re.compile(
    r"[^\w∞]*(?:n/?a|none|null|nil|unknown|unavailable|undisclosed|no\s(?:answer|value|number|figure)"
    r"|not\s(?:reported|available|applicable|given|stated|provided|disclosed|mentioned|found|specified|known))?"
    r"[^\w∞]*",
    re.IGNORECASE,
)
_WITHIN = re.compile(
    rf"(?<!\w)n/a(?!\w)"
    rf"|(?:\b(?:not|never)|n['’]t)\s(?:(?:be|been|being|explicitly|directly|separately)\s)*{_STATES}\w*"
    rf"|\bcannot\s(?:be\s)?{_STATES}\w*"
    r"|\bno\s(?:information|data|mention)\b"
    r"|(?<=[:=])\s*[\"']?(?:none|null|nil|unknown)\b|\bis\s(?:none|null|unknown|unavailable)\b",
    re.IGNORECASE,
)


def no_answer(text: str) -> bool:
    """Whether a text is empty, or nothing but a word for having no value."""
    return bool(_WHOLE.fullmatch(text))


def says_nothing(text: str) -> str | None:
    """The words of a text that say that something is not there to be read."""
    words = _WITHIN.search(text)
    return words[0].strip() if words else None
