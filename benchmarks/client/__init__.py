"""What a client pays for the events it receives, beside the official Python SDK."""
