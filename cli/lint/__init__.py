"""The linter that knows journeys: what types and templates allow, and what still never works (docs/linting.md)."""
