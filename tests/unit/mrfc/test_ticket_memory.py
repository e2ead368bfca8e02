"""What is remembered of tickets, and for how long."""

import pytest

from mrfc.keys import ticket_memory
from mrfc.keys.ticket_memory import MAX_AGE, TicketMemory


def test_a_ticket_is_remembered_for_a_while_and_not_beyond_its_end() -> None:
    memory: TicketMemory[str] = TicketMemory()
    memory.put("long", "a", 1000.0, None)
    memory.put("short", "b", 1000.0, 1010.0)
    assert (memory.get("long", 1000.0 + MAX_AGE - 1), memory.get("short", 1009.0)) == ("a", "b")
    assert (memory.get("long", 1000.0 + MAX_AGE), memory.get("short", 1010.0)) == (None, None)
    assert memory.get("never", 1000.0) is None
    assert len(memory) == 0


def test_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticket_memory, "MAX_TICKETS", 3)
    memory: TicketMemory[int] = TicketMemory()
    for number in range(5):
        memory.put(number, number + 1, 0.0, None)
    assert [memory.get(number, 1.0) for number in range(5)] == [None, None, 3, 4, 5]
