"""Temporal-facing verbs on injected ports; no I/O library is reachable from here."""
