"""Which refusals mean that an address does not exist."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.bounces import Kind, Remark, kind

UNKNOWN = ["User unknown", "No such user here", "Mailbox does not exist", "Invalid recipient", "Unknown user"]
ABOUT_US = ["Relay access denied", "blocked by DNSBL", "SPF check failed", "message looks like spam", "sender rejected"]
MAY_PASS = ["Mailbox full", "over quota", "account is disabled", "try again later", "Connection timed out"]

codes = st.sampled_from([None, 421, 450, 500, 550, 551, 553, 554, 571])
statuses = st.sampled_from([None, "4.2.2", "4.1.1", "5.0.0", "5.1.1", "5.1.2", "5.1.6", "5.2.1", "5.4.4", "5.7.1"])
commands = st.sampled_from([None, "EHLO", "MAIL", "RCPT", "DATA"])
actions = st.sampled_from(["", "failed", "delayed", "expanded"])


@given(st.sampled_from(ABOUT_US + MAY_PASS), st.sampled_from(["", *UNKNOWN]), codes, statuses, commands, actions)
def test_words_about_us_or_of_a_passing_state_never_give_an_address_up(words, more, code, status, command, action):
    """Whatever the codes say, and even next to words that would."""
    told = Remark(
        recipient="ada@example.com", action=action, status=status, code=code, command=command,
        diagnostic=f"{code or ''} {more}: {words}",
    )  # fmt: skip

    assert kind(told) is not Kind.GONE


@given(codes, statuses, commands, actions)
def test_without_words_only_the_status_of_an_address_gives_it_up(code, status, command, action):
    """A reply code alone means a hundred things."""
    told = Remark(recipient="ada@example.com", action=action, status=status, code=code, command=command)

    assert kind(told) is not Kind.GONE or status in {"5.1.1", "5.1.2", "5.1.6", "5.4.4"}


@pytest.mark.parametrize("words", UNKNOWN)
def test_an_unknown_user_counts_when_the_recipient_was_refused(words):
    """After the content was seen it may have been the content."""

    def said(command):
        diagnostic = f"550 {words}"
        return kind(Remark(recipient="a@b.test", action="failed", code=550, diagnostic=diagnostic, command=command))

    assert (said("RCPT"), said("DATA")) == (Kind.GONE, Kind.NOT_NOW)


@pytest.mark.parametrize(("code", "gone"), [(521, True), (556, True), (554, False)])
def test_a_host_that_takes_no_mail_at_all_is_gone(code, gone):
    """RFC 7504: 521 and 556 say so for ever; 554 may be about us."""
    told = Remark(recipient="a@b.test", action="failed", code=code, diagnostic=f"{code} no mail here", command="RCPT")

    assert (kind(told) is Kind.GONE) is gone
