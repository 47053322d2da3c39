"""What a gateway costs between one model's server and its clients, side by side with other gateways in one run.

``python -m benchmarks.gateway`` starts one fake model server and every gateway as a process of its own, drives them in
turn over the WebSocket, round after round, and prints medians beside the bars. Only the gateway's CPU time counts; what
the fake server and the load generator spend is shown, so that one can see that neither is what is measured.
"""
