"""The process that `make fuzz` starts for one target: `python -m tests.fuzz.fuzzing TARGET [libFuzzer's flags]`."""

import sys

import atheris

# What is to be measured must be imported here, and not before.
with atheris.instrument_imports(include=["domain", "api", "adapters.bounces", "adapters.providers", "cli.importing"]):
    from tests.fuzz.targets import TARGETS

atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
atheris.Fuzz()
