"""Composition roots of the Temporal worker and of the router."""
