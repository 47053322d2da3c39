"""The version of this distribution; the build reads it from here, so it stands in one place."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
