"""The plugin gives client, worker and replayer the same converter, which is made for each run and each of its tasks."""

from typing import Any

import pytest
from pydantic import BaseModel
from temporalio.converter import DataConverter, PayloadCodec
from temporalio.plugin import SimplePlugin

from adapters.temporal.plugin import journeys_plugin


class Cart(BaseModel):
    """A value that a run may be given."""

    lines: dict[str, int]


class NoCodec(PayloadCodec):
    """Changes nothing."""

    async def encode(self, payloads: Any) -> Any:
        return payloads

    async def decode(self, payloads: Any) -> Any:
        return payloads


def converter(plugin: SimplePlugin) -> DataConverter:
    found = plugin.data_converter
    assert isinstance(found, DataConverter)
    return found


@pytest.mark.parametrize("codec", [None, NoCodec()], ids=["plain", "encrypted"])
def test_what_reads_a_type_is_built_once_and_not_for_each_run(codec: PayloadCodec | None) -> None:
    """A converter of Pydantic's own would begin with no reader at all, in each task of each run."""
    make = converter(journeys_plugin(codec)).payload_converter_class
    one, other = make(), make()
    payload = one.to_payload(Cart(lines={"MUG-1": 2}))

    assert one is not other
    assert other.from_payload(payload, Cart) == Cart(lines={"MUG-1": 2})
    assert parts(one) == parts(other)


def parts(made: Any) -> list[int]:
    return [id(part) for part in made.converters.values()]
