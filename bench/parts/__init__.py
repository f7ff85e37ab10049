"""The parts, each in a module of its own; importing this package registers them in the order of the report."""

from bench.parts import costs, track, batch, latency, router, imports, cart, replay, waiting, storage, backtest, peer  # noqa: F401, I001
