"""Returned mail, read: reports by RFC 3464 and 5965 first, the words of mail servers where there is no better."""

from adapters.bounces.reading import read

__all__ = ["read"]
