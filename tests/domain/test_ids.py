"""The literal form of every id. A change here sends messages twice: it needs a migration, not a new expectation."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from domain import ids

CUSTOMER = UUID("0190a5d0-ac96-77b4-bcce-b302099a8057")
RUN = UUID("11111111-2222-5333-8444-555555555555")


def test_the_ids_of_workflows_are_what_they_were():
    """One customer has one workflow per journey (and product)."""
    assert ids.workflow_id("mugs", "welcome", CUSTOMER) == "mugs/welcome/0190a5d0-ac96-77b4-bcce-b302099a8057"
    assert (
        ids.workflow_id("mugs", "back-in-stock", CUSTOMER, "SKU-1_a.b")
        == "mugs/back-in-stock/0190a5d0-ac96-77b4-bcce-b302099a8057/SKU-1_a.b"
    )
    assert (
        ids.workflow_id("mugs", "back-in-stock", CUSTOMER, "a/b")
        == "mugs/back-in-stock/0190a5d0-ac96-77b4-bcce-b302099a8057/c14cddc033f64b9dea80ea675cf280a0"
    )
    assert ids.waves_id("mugs", "SKU-1") == "mugs/stock-waves/SKU-1"
    assert ids.waves_id("mugs", "Tasse für Ann") == "mugs/stock-waves/0b8d32db599987d2f0a59895a0950b86"


def test_the_ids_of_runs_and_messages_are_what_they_were():
    """They are the dedup keys of G3."""
    workflow = ids.workflow_id("mugs", "post-purchase", CUSTOMER)

    assert str(ids.run_id(workflow, "A-1001")) == "492b69e1-41bf-5e03-8ecf-838277cefadb"
    assert str(ids.message_id(RUN, "reminder-1")) == "23c499fe-f8c4-5271-b52e-694b52bfd58d"
    assert ids.rfc_message_id(RUN, "mugs.example") == "<11111111222253338444555555555555@mugs.example>"
    assert ids.internal_message_id("open", RUN) == "open:11111111222253338444555555555555:e3b0c44298fc1c14"
    assert ids.internal_message_id("click", RUN, "2") == "click:11111111222253338444555555555555:d4735e3a265e16ee"


def test_the_lanes_are_what_they_were():
    """Events of one identity stay in one lane across a deploy."""
    assert ids.SHARDS == 64
    assert [ids.shard("mugs", identity) for identity in ("u:1", "u:2", "a:browser", "-")] == [59, 12, 7, 60]


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_different_steps_and_triggers_never_share_an_id(one, other, step, another):
    """A collision would swallow a message."""
    assert (ids.run_id("w", one) == ids.run_id("w", other)) == (one == other)
    assert (ids.message_id(RUN, step) == ids.message_id(RUN, another)) == (step == another)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80), st.text(max_size=5))
def test_a_product_id_never_breaks_out_of_its_place(product, store):
    """Nor carries more than an id into the open: exotic ones are hashed (G8)."""
    last = ids.workflow_id("mugs", "back-in-stock", CUSTOMER, product).split("/")

    assert len(last) == 4
    assert last[3].isascii()
    assert 0 < len(last[3]) <= 64


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_every_identity_has_a_lane(store, identity):
    """Whatever its letters."""
    assert 0 <= ids.shard(store, identity) < ids.SHARDS


@given(st.uuids(), st.from_regex(r"[a-z0-9][a-z0-9-]{0,39}", fullmatch=True))
def test_a_return_path_names_store_and_message_in_a_legal_address(message, store_id):
    """At most 64 characters before the @; a very long store name leaves no room for the message."""
    address = ids.return_path("bounces@mail.test", store_id, message)

    assert len(address.partition("@")[0]) <= 64
    assert ids.returned_to(address.upper()) == (store_id, message if len(store_id) <= 29 else None)


@given(st.datetimes(datetime.fromtimestamp(0, UTC).replace(tzinfo=None), timezones=st.just(UTC)))
def test_the_first_id_of_a_moment_bounds_all_that_are_made_from_then_on(moment):
    """The weeks of events begin and end there (RFC 9562 §5.7: 48 bits of milliseconds first)."""
    first = ids.first_made_at(moment)
    later = ids.first_made_at(moment + timedelta(milliseconds=1))

    assert first < UUID(int=first.int | (7 << 76) | (2 << 62)) < later
    assert timedelta(0) <= moment - ids.made_at(first) < timedelta(milliseconds=1)
    assert str(ids.first_made_at(datetime(2026, 11, 23, tzinfo=UTC))) == "01a205b3-d000-0000-0000-000000000000"


def test_a_workflow_that_is_about_all_stores_belongs_to_none():
    """Temporal appends the time to what a schedule starts; that is no store, and must not get a key of its own."""
    assert ids.about("journeys-retention") == (ids.NO_STORE, None)
    assert ids.about("journeys-retention-2026-01-15T03:20:00Z") == (ids.NO_STORE, None)
    assert ids.about("mugs/rollout/welcome/v2") == ("mugs", None)
