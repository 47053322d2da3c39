"""The engine in front of any server that speaks the Chat Completions API, such as llama.cpp, vLLM, Ollama or OpenAI.

`agentwire.engines.chat.engine` holds it together; what goes up is made in `messages`, `offers` and `request`, what
comes down is read in `chunks`, `answer`, `thinking` and `calls`, what goes wrong is named in
`agentwire.engines.faults`, and how servers differ is said in `dialect`.
"""

from __future__ import annotations

from agentwire.engines.chat.dialect import ChatDialect as ChatDialect
from agentwire.engines.chat.engine import open_chat_engine as open_chat_engine

__all__ = ["ChatDialect", "open_chat_engine"]
