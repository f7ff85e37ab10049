"""Rehearsal: the real router, journeys and gate on a server that skips time, for tests, budgets and backtests."""
