"""The time as records write it."""

from __future__ import annotations

from datetime import datetime, timezone


def now() -> str:
    """UTC time in ISO 8601, to the second: 2024-01-15T08:30:00Z."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
