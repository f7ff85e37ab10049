"""The benchmarks: every figure that a document of ours claims, measured by one command (`make bench`).

Machines are noisy and shared, so a goal is a ratio to something bare that is measured in the same run. Nothing here is
shipped; `docs/performance.md` says what the figures mean.
"""
