"""How long it takes to sign a mail, here and in dkimpy: `python bench/signing.py` (docs/adr/0030-dkim.md)."""

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import get_args

import dkim
from cryptography.hazmat.primitives import serialization as form

from adapters.channels.dkim import Algorithm, SigningKey, new_key, signed
from adapters.channels.mime import wire
from domain.message import Letter


def milliseconds(act: Callable[[], object], times: int = 40) -> float:
    """Return the median of how long something takes."""
    took = []
    for _ in range(times):
        begun = time.perf_counter()
        act()
        took.append((time.perf_counter() - begun) * 1000)
    return statistics.median(took)


def main() -> None:
    """Sign a mail of 40 KB with each kind of key."""
    html = "<p>You left a blue mug in your cart.</p>\n" * 900
    letter = Letter(
        message_id="<m@shop.example>", to="ada@customers.example", to_name="Ada", sender="hello@shop.example",
        sender_name="Shop", subject="You left something in your cart", html=html, text="You left a blue mug.\n" * 100,
        list_id="<l.shop.example>", feedback_id="a:b:c:d", unsubscribe_url="https://mail.example/unsubscribe?token=t",
    )  # fmt: skip
    raw = wire(letter, datetime.now(UTC))
    for algorithm in get_args(Algorithm):
        pair = new_key(algorithm)
        key = SigningKey(domain="shop.example", selector="s", algorithm=algorithm, private=pair.private)
        signed(raw, [key], 1)  # opens the key
        print(f"ours    {algorithm:<15} {milliseconds(partial(signed, raw, [key], 1)):6.2f} ms")
        if algorithm == "rsa-sha256":
            opened = form.load_der_private_key(pair.private, password=None)
            pem = opened.private_bytes(form.Encoding.PEM, form.PrivateFormat.TraditionalOpenSSL, form.NoEncryption())
            theirs = milliseconds(partial(dkim.sign, raw, b"s", b"shop.example", pem))
            print(f"dkimpy  {algorithm:<15} {theirs:6.2f} ms")


if __name__ == "__main__":
    main()
