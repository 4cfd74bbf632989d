"""What all unit tests share."""

import asyncio

import pytest

# Never closed: that would end threads of Pulumi's mocks, whose own loops nobody closes.
_LOOP = asyncio.new_event_loop()
asyncio.set_event_loop(_LOOP)


@pytest.fixture(autouse=True)
def _event_loop() -> None:
    """An event loop for each test: Pulumi takes the thread's, and who ran one of their own before has left none."""
    try:
        is_there = not asyncio.get_event_loop().is_closed()
    except RuntimeError:
        is_there = False
    if not is_there:
        asyncio.set_event_loop(_LOOP)
