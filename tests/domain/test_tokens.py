"""Link tokens: only what we signed, only for what we signed it for."""

import string
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidToken
from domain.tokens import Claims, Purpose, Signer

OLD, NEW = "the old secret of the shop", "the new secret of the shop"
MESSAGE = UUID("0190a5d0-ac96-77b4-bcce-b302099a8057")
ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"

signer = Signer([NEW])
purposes = st.sampled_from(Purpose)


@given(st.uuids(), purposes, st.integers(0, 65_535))
def test_a_token_says_what_was_signed(message, purpose, link):
    """Message, purpose and link come back; the token fits a header line and a URL as it is."""
    token = signer.token(message, purpose, link)

    assert signer.claims(token, purpose) == Claims(message_id=message, purpose=purpose, link=link)
    assert len(token) == 47
    assert set(token) <= set(ALPHABET)


@given(st.uuids(), st.datetimes(datetime(2026, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_token_says_until_when_it_is_good(message, expires_at):
    """To the second; whoever asks has the clock. It is longer, for it stands in no header."""
    token = signer.token(message, Purpose.CONFIRM, expires_at=expires_at)

    assert signer.claims(token, Purpose.CONFIRM).expires_at == expires_at.replace(microsecond=0)
    assert len(token) == 54


@pytest.mark.parametrize("place", range(47))
def test_a_token_with_any_single_bit_changed_is_refused(place):
    """Every one of the six bits of every letter, also those that base64 would not look at."""
    token = signer.token(MESSAGE, Purpose.UNSUBSCRIBE)
    expiring = signer.token(MESSAGE, Purpose.CONFIRM, expires_at=datetime(2026, 3, 1, tzinfo=UTC))

    for bit in range(6):
        letter = ALPHABET[ALPHABET.index(token[place]) ^ (1 << bit)]
        with pytest.raises(InvalidToken):
            signer.claims(token[:place] + letter + token[place + 1 :], Purpose.UNSUBSCRIBE)
        late = place + 7  # the bytes of the expiry among them
        letter = ALPHABET[ALPHABET.index(expiring[late]) ^ (1 << bit)]
        with pytest.raises(InvalidToken):
            signer.claims(expiring[:late] + letter + expiring[late + 1 :], Purpose.CONFIRM)


@given(st.uuids(), purposes, purposes)
def test_a_token_is_good_for_its_own_purpose_only(message, made_for, used_for):
    """A link to open a page must not unsubscribe."""
    token = signer.token(message, made_for)

    if made_for == used_for:
        assert signer.claims(token, used_for).message_id == message
    else:
        with pytest.raises(InvalidToken):
            signer.claims(token, used_for)


@given(st.text(), purposes)
def test_anything_else_is_refused_as_an_invalid_token(text, purpose):
    """Never another error: the token comes from a URL."""
    with pytest.raises(InvalidToken):
        signer.claims(text, purpose)


@pytest.mark.parametrize("spoilt", ["{}=", " {}", "{}\n", "{}A", "A{}"])
def test_only_the_form_that_was_written_is_a_token(spoilt):
    """No second spelling of the same token."""
    with pytest.raises(InvalidToken):
        signer.claims(spoilt.format(signer.token(MESSAGE, Purpose.OPEN)), Purpose.OPEN)


def test_secrets_can_be_rotated():
    """The first signs, all verify; an unsubscribe link works until its secret is thrown away."""
    token = Signer([OLD]).token(MESSAGE, Purpose.UNSUBSCRIBE)

    assert Signer([NEW, OLD]).claims(token, Purpose.UNSUBSCRIBE).message_id == MESSAGE
    assert Signer([NEW, OLD]).token(MESSAGE, Purpose.OPEN) == Signer([NEW]).token(MESSAGE, Purpose.OPEN)
    with pytest.raises(InvalidToken):
        Signer([NEW]).claims(token, Purpose.UNSUBSCRIBE)


def test_a_token_in_a_mail_of_last_year_still_works():
    """The literal form: mails already sent carry it."""
    assert signer.token(MESSAGE, Purpose.CLICK, 3) == "AgADAZCl0KyWd7S8zrMCCZqAV1mUiricYONMK0fsY-FVzio"


@pytest.mark.parametrize("secrets", [[], [""], ["short"], [NEW, "short"]])
def test_a_secret_that_can_be_guessed_is_refused(secrets):
    """At start, not at the first mail."""
    with pytest.raises(ValueError, match="16 characters"):
        Signer(secrets)
