"""The engine in front of any server that speaks the Chat Completions API, such as llama.cpp, vLLM, Ollama or OpenAI.

`agentwire.engines.chat.engine` holds it together; what goes up is made in `messages`, `offers` and `request`, what
comes down is read in `chunks`, `answer` and `calls`, and what goes wrong is named in `agentwire.engines.faults`.
"""

from __future__ import annotations

from agentwire.engines.chat.engine import open_chat_engine as open_chat_engine

__all__ = ["open_chat_engine"]
