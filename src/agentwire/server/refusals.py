"""What the server refuses for its own reasons, in the words of the protocol."""

from __future__ import annotations

from agentwire.protocol.errors import RequestError

__all__ = ["draining", "no_model", "no_response", "not_found", "overloaded", "revoked", "wrong_method"]


def draining() -> RequestError:
    """503: the server is about to stop."""
    message = "This server is about to restart; try again, or another one."
    return RequestError(503, "server_is_draining", message, headers={"retry-after": "5"})


def overloaded(connections: int) -> RequestError:
    """503: it has as many connections as it may have."""
    message = f"This server has its {connections} connections; try again, or another one."
    return RequestError(503, "server_is_overloaded", message, headers={"retry-after": "5"})


def not_found(path: str) -> RequestError:
    """404: nothing answers at this path."""
    return RequestError(404, "not_found", f"There is nothing at {path}; see /v1/responses.")


def no_model(name: str) -> RequestError:
    """404: the model is not one of those that are listed."""
    return RequestError(404, "model_not_found", f"There is no model {name!r} in the list at /v1/models.", param="model")


def no_response(response_id: str) -> RequestError:
    """404: no response of that id is stored for whoever asks."""
    return RequestError(404, "response_not_found", f"There is no stored response {response_id!r}.", param="id")


def revoked() -> RequestError:
    """401: a key that was good once."""
    headers = {"www-authenticate": "Bearer"}
    return RequestError(401, "invalid_api_key", "This API key is not accepted any more.", headers=headers)


def wrong_method(method: str, allowed: str) -> RequestError:
    """405, naming the methods that are allowed."""
    return RequestError(405, "method_not_allowed", f"{method} is not for this path.", headers={"allow": allowed})
