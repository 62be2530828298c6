"""Pushes networks to the Hugging Face Hub. `hub_addresses` finds them there."""

from __future__ import annotations

from bnnzoo.hub.pushing import Push, push

__all__ = ["Push", "push"]
