"""`make fuzz TARGET=bounces SECONDS=60`: look for input that breaks a target, guided by coverage (atheris, libFuzzer).

What breaks it is kept in the corpus, where `make test` replays it from then on: mend the code, not the target.
`TARGET=api` is the whole API instead, by its OpenAPI document (schemathesis).
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.targets import CORPUS, TARGETS, WORDS

_LONGEST = 16_384
_SLOWEST_S = 10
_MOST_MEMORY_MB = 2_048


def main() -> int:
    """Fuzz the target that is named, or one after the other; 1 if something was found."""
    asked = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    asked.add_argument("target", choices=[*TARGETS, "all", "api"])
    asked.add_argument("--seconds", type=int, default=60, help="for each target")
    asked.add_argument("--examples", type=int, default=300, help="for each operation of the API")
    said = asked.parse_args()
    if said.target == "api":
        argv = [sys.executable, "-m", "pytest", "tests/api/test_openapi_fuzzed.py", "-x"]
        return subprocess.run(argv, check=False, env={**os.environ, "FUZZ_EXAMPLES": str(said.examples)}).returncode
    if importlib.util.find_spec("atheris") is None:
        sys.stderr.write("atheris has no wheel for this machine (docs/bad-input.md); `make test` replays the corpus\n")
        return 2
    return max([_found(name, said.seconds) for name in (TARGETS if said.target == "all" else [said.target])])


def _found(name: str, seconds: int) -> int:
    """Fuzz in a process of its own, which libFuzzer ends; 1 if it found something."""
    sys.stderr.write(f"\n== {name}, {seconds} s ==\n")
    kept = CORPUS / name
    # What only widens the coverage is found again quickly, so it is not kept; what breaks a target is.
    with tempfile.TemporaryDirectory() as folder:
        words = Path(folder) / "words"
        words.write_text("".join(f"{_quoted(word)}\n" for word in WORDS[name]))
        new = Path(folder) / "new"
        new.mkdir()
        flags = [f"-max_total_time={seconds}", f"-max_len={_LONGEST}", f"-timeout={_SLOWEST_S}"]
        flags += [f"-rss_limit_mb={_MOST_MEMORY_MB}", f"-artifact_prefix={kept}{os.sep}", "-print_final_stats=1"]
        flags += [f"-dict={words}"] if WORDS[name] else []
        argv = [sys.executable, "-m", "tests.fuzz.fuzzing", name, *flags, str(new), str(kept)]
        return int(subprocess.run(argv, check=False).returncode != 0)


def _quoted(word: str) -> str:
    """Write a word as libFuzzer's dictionaries have it."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in word.encode("latin-1", "replace")) + '"'


if __name__ == "__main__":
    sys.exit(main())
