"""The verdict: what was due, held against what the mail server wrote down. Pure, so that it can be shown to fail.

The ledger is asked for two things that nobody else knows: when a message was claimed, and whether it stands as
`unknown`. Whether it came, and how often, is the mail server's word alone.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from chaos.expected import STEPS, Episode
from chaos.record import Acknowledged, Call, Entry, Mail

_TAKEN = ("sent", "unknown")
"""What the ledger may say of a message that the mail server has."""


@dataclass
class Verdict:
    """What is wrong, one sentence for each thing; nothing in a good run.

    Attributes:
        events: How many were acknowledged.
        mails: How many the mail server took.
        due: How many messages had to go out; the others of `mails` could.
        unknown: Messages that stand as `unknown`, by the rule (docs/delivery.md).
        lost: Events and messages that are not where they should be, and calls that an SDK would have dropped.
        doubled: Events and messages that are there more than once, or that nothing asks for.
        late: Messages that were claimed after what forbids them had been acknowledged.
    """

    events: int = 0
    mails: int = 0
    due: int = 0
    unknown: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.doubled or self.late)


def judged(
    acknowledged: Sequence[Acknowledged],
    refused: Iterable[tuple[Call, str]],
    stored: Mapping[str, Sequence[str]],
    episodes: Iterable[Episode],
    mails: Sequence[Mail],
    ledger: Iterable[Entry],
) -> Verdict:
    """Judge a run that has come to rest.

    Args:
        acknowledged: The calls that were answered with 200.
        refused: Calls that were answered so that an SDK would drop them, and that answer.
        stored: The states of the stored events of each `messageId`.
        episodes: What had to happen (`chaos.expected`).
        mails: What the mail server wrote down, each time it took something.
        ledger: The messages as the product has them.
    """
    verdict = Verdict(events=len(acknowledged), mails=len(mails))
    verdict.lost += [f"event {call['messageId']}: an SDK drops it after HTTP {answer}" for call, answer in refused]
    _events(verdict, acknowledged, stored)
    entries = {entry.message_id: entry for entry in ledger}
    came = Counter(mail.message_id for mail in mails)
    verdict.doubled += [f"message {name}: came {times} times" for name, times in came.items() if times > 1]
    for mail in mails:
        state = entries[mail.message_id].state if mail.message_id in entries else "nothing"
        if state not in _TAKEN:
            verdict.doubled.append(f"{_of(mail)}: came, and the ledger says {state}")
    verdict.unknown = sum(entry.state == "unknown" for entry in entries.values())
    verdict.lost += [
        f"{_of(entry)}: the ledger says sent, and it never came"
        for entry in entries.values()
        if entry.state == "sent" and entry.message_id not in came
    ]
    _messages(verdict, episodes, [e for e in entries.values() if e.message_id in came or e.state == "unknown"])
    return verdict


def _events(verdict: Verdict, acknowledged: Iterable[Acknowledged], stored: Mapping[str, Sequence[str]]) -> None:
    for one in acknowledged:
        name = one.call["messageId"]
        states = stored.get(name, ())
        if len(states) > 1:
            verdict.doubled.append(f"event {name}: stored {len(states)} times")
        elif list(states) != ["routed"]:
            verdict.lost.append(f"event {name}: {states[0] if states else 'not stored'}")


def _messages(verdict: Verdict, episodes: Iterable[Episode], out: Iterable[Entry]) -> None:
    """Find the episode of each message that went out, or may have."""
    slots: dict[tuple[str, str, str], list[Episode]] = defaultdict(list)
    for episode in episodes:
        for step in STEPS[episode.journey]:
            slots[episode.to, episode.journey, step].append(episode)
            verdict.due += episode.due
    found: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
    for entry in out:
        found[entry.to, entry.journey, entry.step].append(entry)
    for slot in slots.keys() | found.keys():
        _slot(verdict, " ".join(slot), slots[slot], found[slot])


def _slot(verdict: Verdict, slot: str, episodes: Sequence[Episode], out: Sequence[Entry]) -> None:
    taken = _matched(episodes, out)
    verdict.lost += [
        f"{slot}: never came" for place, episode in enumerate(episodes) if episode.due and place not in taken
    ]
    for place, entry in enumerate(out):
        if place in taken.values():
            continue
        ended = [e.because for e in episodes if e.ended_at is not None and e.ended_at < entry.claimed_at]
        if ended:
            verdict.late.append(f"{slot}: claimed after {', '.join(ended)}")
        else:
            verdict.doubled.append(f"{slot}: {entry.message_id} is one too many")


def _matched(episodes: Sequence[Episode], out: Sequence[Entry]) -> dict[int, int]:
    """Give each episode a message that can be its own, those first that must have one (augmenting paths).

    Returns:
        The place of the message by the place of its episode.
    """
    taken: dict[int, int] = {}

    def give(place: int, asked: set[int]) -> bool:
        for number, entry in enumerate(out):
            if number in asked or not _can_be(episodes[place], entry):
                continue
            asked.add(number)
            owner = next((one for one, message in taken.items() if message == number), None)
            if owner is None or give(owner, asked):
                taken[place] = number
                return True
        return False

    for place in sorted(range(len(episodes)), key=lambda place: not episodes[place].due):
        give(place, set())
    return taken


def _can_be(episode: Episode, entry: Entry) -> bool:
    ended = episode.ended_at is not None and entry.claimed_at > episode.ended_at
    return episode.begun_at <= entry.claimed_at and not ended and not episode.waits


def _of(message: Mail | Entry) -> str:
    return f"{message.to} {message.journey} {message.step}"
