"""What one event costs the server, from the engine to the socket, side by side with other servers in one run.

``python -m benchmarks.wire`` starts every contestant as a process of its own, drives them in turn, round after round,
and prints the medians. The figure is the server's CPU time for each event; wall-clock time is not looked at.
"""
