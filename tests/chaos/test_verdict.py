"""The verdict of a chaos run can fail: it finds what is lost, doubled and late in a record that has it."""

from dataclasses import dataclass, field, replace
from typing import Any

from chaos.expected import episodes
from chaos.record import Acknowledged, Call, Entry, Mail
from chaos.verdict import Verdict, judged

WELCOME = (("welcome", "first", 2.0), ("welcome", "second", 7.0))
REMINDERS = (("cart-recovery", "reminder-1", 13.0), ("cart-recovery", "reminder-2", 17.0))


@dataclass
class Record:
    """What was seen of one customer, Ada; acknowledged half a second after it was sent."""

    acknowledged: list[Acknowledged] = field(default_factory=list)
    refused: list[tuple[Call, str]] = field(default_factory=list)
    stored: dict[str, list[str]] = field(default_factory=dict)
    mails: list[Mail] = field(default_factory=list)
    ledger: list[Entry] = field(default_factory=list)

    def told(self, at: float, event: str, user: str = "ada", **properties: Any) -> "Record":
        """An event that was sent at a time."""
        name = f"{user}-{len(self.acknowledged)}"
        call = {"userId": user, "event": event, "messageId": name, "properties": properties}
        self.acknowledged.append(Acknowledged(call, at, at + 0.5))
        self.stored[name] = ["routed"]
        return self

    def ordered(self, at: float, number: str, product: str = "mug") -> "Record":
        """An order."""
        return self.told(at, "Order Completed", order_id=number, products=[{"product_id": product}])

    def mailed(self, *claimed: tuple[str, str, float], state: str = "sent", came: bool = True) -> "Record":
        """Messages that were claimed at a time: journey, step, time."""
        for journey, step, at in claimed:
            mail = Mail(f"m{len(self.ledger)}", "ada@example.com", journey, step)
            self.ledger.append(Entry(mail.message_id, mail.to, journey, step, state, at))
            if came:
                self.mails.append(mail)
        return self

    def judged(self) -> Verdict:
        """What the verdict says."""
        return judged(
            self.acknowledged, self.refused, self.stored, episodes(self.acknowledged), self.mails, self.ledger
        )


def found(verdict: Verdict) -> tuple[int, int, int]:
    """How many are lost, doubled and late."""
    return len(verdict.lost), len(verdict.doubled), len(verdict.late)


def welcomed() -> Record:
    """Ada signed up, and got what is due for that."""
    return Record().told(1, "Signed Up").mailed(*WELCOME)


def reminded() -> Record:
    """... and left a cart behind, and was reminded of it."""
    return welcomed().told(10, "Product Added", product_id="mug").mailed(*REMINDERS)


def test_a_run_in_which_everything_is_in_its_place_is_good() -> None:
    """Two journeys that nothing ends: four messages are due, and four came."""
    verdict = reminded().judged()

    assert verdict.good
    assert (verdict.events, verdict.due, verdict.mails, verdict.unknown) == (2, 4, 4, 0)


def test_an_event_that_was_acknowledged_and_is_not_stored_or_not_routed_is_lost() -> None:
    """G1; so is one that an SDK drops because of the answer that it got."""
    record = reminded()
    del record.stored["ada-0"]
    record.stored["ada-1"] = ["parked"]
    record.refused.append(({"messageId": "ada-2"}, "400"))

    assert found(record.judged()) == (3, 0, 0)


def test_an_event_that_is_stored_twice_is_doubled() -> None:
    """One messageId is one event, however often it was sent."""
    record = reminded()
    record.stored["ada-1"] = ["routed", "routed"]

    assert found(record.judged()) == (0, 1, 0)


def test_a_message_that_is_due_and_never_came_is_lost() -> None:
    """Whether the product has no word of it, or believes that it was sent."""
    never = Record().told(1, "Signed Up").mailed(*WELCOME[:1])
    believed = never.judged()
    never.mailed(*WELCOME[1:], came=False)

    assert found(believed) == (1, 0, 0)
    assert found(never.judged()) == (2, 0, 0)


def test_a_message_that_stands_as_unknown_is_accounted_for() -> None:
    """By the rule it is not sent again; it may have come or not."""
    for came in (True, False):
        record = Record().told(1, "Signed Up").mailed(*WELCOME[:1]).mailed(*WELCOME[1:], state="unknown", came=came)

        assert record.judged().good
        assert record.judged().unknown == 1


def test_a_message_that_came_twice_is_doubled() -> None:
    """With the same Message-ID, or as another message of the same step."""
    again, another = reminded(), reminded().mailed(("cart-recovery", "reminder-1", 14.0))
    again.mails.append(again.mails[0])

    assert found(again.judged()) == (0, 1, 0)
    assert found(another.judged()) == (0, 1, 0)


def test_a_message_that_came_and_was_not_sent_by_the_ledgers_word_is_doubled() -> None:
    """It would be sent again, or nobody asked for it."""
    record = reminded()
    record.ledger[3] = replace(record.ledger[3], state="claimed")
    stray = reminded()
    stray.mails.append(Mail("m9", "eve@example.com", "welcome", "first"))

    assert found(record.judged()) == (0, 1, 0)
    assert found(stray.judged()) == (0, 1, 0)


def test_a_message_that_was_claimed_after_the_purchase_was_acknowledged_is_late() -> None:
    """G4: the order was sent at 15 and acknowledged at 15.5; each claim after that is one too late."""
    thanks = (("post-purchase", "thank-you", 16.0), ("post-purchase", "how-to", 20.0))
    for claimed, late in ((15.4, 0), (15.6, 1)):
        record = welcomed().told(10, "Product Added", product_id="mug").ordered(15, "one").mailed(*thanks)
        record.mailed(("cart-recovery", "reminder-1", claimed))

        assert found(record.judged()) == (0, 0, late)


def test_what_came_due_before_the_purchase_may_have_gone_out_or_not() -> None:
    """A fault may have held it up until the purchase; then it must not go out any more."""
    record = welcomed().told(10, "Product Added", product_id="mug").ordered(20, "one")
    record.mailed(("post-purchase", "thank-you", 21.0), ("post-purchase", "how-to", 25.0))

    assert record.judged().good
    assert record.mailed(*REMINDERS).judged().good


def test_what_follows_a_purchase_is_due_again() -> None:
    """The second order ends what follows the first, and the cart after an order is a new one."""
    record = welcomed().ordered(20, "one").told(22, "Product Added", product_id="mug").ordered(30, "two")
    second = (("post-purchase", "thank-you", 31.0), ("post-purchase", "how-to", 35.0))

    assert found(record.judged()) == (2, 0, 0)
    assert record.mailed(*second).judged().good
    assert record.mailed(("post-purchase", "thank-you", 21.0)).judged().good
    assert found(record.mailed(("post-purchase", "thank-you", 32.0)).judged()) == (0, 0, 1)


def test_between_sending_an_order_and_its_acknowledgement_a_message_may_be_of_either() -> None:
    """The thanks at 30.2 are for the second order if it has no others, else for the first."""
    record = welcomed().ordered(20, "one").ordered(30, "two").mailed(("post-purchase", "how-to", 35.0))
    record.mailed(("post-purchase", "thank-you", 30.2))

    assert record.judged().good
    assert record.mailed(("post-purchase", "thank-you", 31.0)).judged().good


def test_a_refund_and_an_unsubscribe_forbid_as_a_purchase_does() -> None:
    """Each ends its own."""
    refunded = welcomed().ordered(20, "one").told(25, "Order Refunded", order_id="one")
    refunded.mailed(("post-purchase", "thank-you", 21.0), ("post-purchase", "how-to", 26.0))
    silent = Record().told(1, "Signed Up").told(3, "Newsletter Unsubscribed").mailed(*WELCOME)

    assert found(refunded.judged()) == (0, 0, 1)
    assert found(silent.judged()) == (0, 0, 1)


def test_an_alert_is_due_from_the_restock_on_unless_the_product_was_bought() -> None:
    """Before the restock it is one too many; who buys something else still waits."""
    alerts = (("back-in-stock", "alert", 31.0), ("back-in-stock", "follow-up", 34.0))
    asked = welcomed().told(10, "Back In Stock Requested", product_id="mug")
    asked.told(30, "Product Updated", user="back-office", product_id="mug", stock=10)
    early = welcomed().told(10, "Back In Stock Requested", product_id="mug").mailed(("back-in-stock", "alert", 12.0))

    assert found(asked.judged()) == (2, 0, 0)
    assert asked.mailed(*alerts).judged().good
    assert found(early.judged()) == (0, 1, 0)
