"""Publishing: from the folder of a finished run to a weight file and its record in the manifest."""

from __future__ import annotations

from bnnzoo.publishing.publication import Publication, publish

__all__ = ["Publication", "publish"]
