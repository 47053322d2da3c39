"""What a gateway costs between one model's server and its clients, side by side with other gateways in one run.

``python -m benchmarks.gateway`` starts one fake model server and every gateway as a process of its own, drives them in
turn over the WebSocket, round after round, and prints medians beside the bars. Only the gateway's CPU time counts; what
the fake server and the load generator spend is shown, so that one can see that neither is what is measured.

``make peers`` sets up agentic-api; LiteLLM is large, and only measured if somebody has set it up::

    python3 -m venv .peers/litellm && .peers/litellm/bin/pip install 'litellm[proxy]==1.106.2'
"""
