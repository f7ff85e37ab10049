"""The stack on one machine: Postgres, Temporal, an inbox, and our own processes, without Docker."""
