"""The ids of calls, for servers that refuse others: Mistral wants them short.

Nothing is remembered: the id of a call and that of its answer are made of the same text, and are the same in each turn.
"""

from __future__ import annotations

import string
from hashlib import sha256
from typing import Final

from agentwire.engines.chat.dialect import CallIds

__all__ = ["call_id_of"]

_SIGNS: Final = string.digits + string.ascii_letters
_SHORT: Final = 9


def call_id_of(call_id: str, form: CallIds) -> str:
    """The id of a call as the server takes it: the same for the same call, every time."""
    if form == "any" or (len(call_id) == _SHORT and all(sign in _SIGNS for sign in call_id)):
        return call_id
    number = int.from_bytes(sha256(call_id.encode(errors="replace")).digest())
    return "".join(_SIGNS[number // len(_SIGNS) ** place % len(_SIGNS)] for place in range(_SHORT))
