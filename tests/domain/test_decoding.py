"""What each event means."""

from datetime import timedelta
from uuid import UUID

import pytest
from told import AT, event, none_of, one, tracked

from domain.decoding import facts
from domain.events import Who
from domain.facts import (
    CartLineChanged,
    CartReported,
    ConsentChanged,
    ConsentConfirmed,
    IdentitiesJoined,
    Line,
    LinkClicked,
    MarketingPaused,
    MarketingResumed,
    MessageOpened,
    NewsletterSubscribed,
    OrderCancelled,
    OrderPlaced,
    OrderRefunded,
    OrderUpdated,
    PriceDropped,
    PriceRose,
    ProductChanged,
    ProductUnwatched,
    ProductViewed,
    ProductWatched,
    ProfileChanged,
    SignedUp,
    StockRequested,
    Topic,
    Unsubscribed,
    ViewTimed,
)

REF = "jn_0190a5d0ac9677b4bcceb302099a8057"


# --- people


def test_identify_tells_the_profile():
    """Known traits become the profile, in one spelling; the plain rest is kept as traits."""
    traits = {"email": " Ann@Shop.Example", "firstName": "Ann", "last_name": "Lee", "phone": "+44 20", "plan": "gold"}
    context = {"timezone": "Europe/London", "locale": "en-GB"}

    profile = one(ProfileChanged, facts(event(kind="identify", traits=traits, context=context)))

    assert (profile.email, profile.first_name, profile.last_name) == ("ann@shop.example", "Ann", "Lee")
    assert (profile.phone, profile.locale, profile.timezone) == ("+44 20", "en-GB", "Europe/London")
    assert profile.traits == {"plan": "gold"}


def test_traits_in_the_context_count_and_those_at_the_top_win():
    """RudderStack's Python client sends `context.traits` only; others send both."""
    only_context = event(kind="identify", context={"traits": {"email": "a@b.example"}})
    both = event(kind="identify", traits={"email": "new@b.example"}, context={"traits": {"email": "a@b.example"}})

    assert one(ProfileChanged, facts(only_context)).email == "a@b.example"
    assert one(ProfileChanged, facts(both)).email == "new@b.example"


def test_a_full_name_is_split_once():
    """Everything after the first word is the last name."""
    profile = one(ProfileChanged, facts(event(kind="identify", traits={"name": "Ludwig van Beethoven"})))

    assert (profile.first_name, profile.last_name) == ("Ludwig", "van Beethoven")


@pytest.mark.parametrize(
    "address", ["ann", "ann@", "a b@c.example", "a@b@c", "ann@example.org\nBcc: x@y.z", 7, None, ["x"]]
)
def test_what_is_no_address_is_not_said(address):
    """A malformed address yields no address; it is never repaired, least of all into a mail header."""
    profile = one(ProfileChanged, facts(event(kind="identify", traits={"email": address, "firstName": "Ann"})))

    assert profile.email is None


def test_an_identify_that_says_nothing_changes_nothing():
    """Browsers send empty identifies."""
    assert facts(event(kind="identify", traits={})) == []


@pytest.mark.parametrize("name", ["Order Completed", "Checkout Started", "Product Added", "Back In Stock Requested"])
def test_an_address_on_an_event_tells_who_the_customer_is(name):
    """Guests are known by the address they leave at the checkout or in a form; `name` is the product's."""
    told = tracked(name, {"email": "Guest@Shop.example", "name": "Blue mug", "product_id": "mug"})

    profile = one(ProfileChanged, told)
    assert (profile.email, profile.first_name) == ("guest@shop.example", None)
    assert told[0] is profile


def test_a_friends_address_is_not_the_customers():
    """Product Shared carries the recipient."""
    shared = {"product_id": "mug", "email": "friend@shop.example"}

    assert facts(event("Product Shared", who=Who(user_id="u-1", email="friend@shop.example"), properties=shared)) == []


def test_an_event_without_an_address_leaves_the_profile_alone():
    """RudderStack repeats the traits in every event; a locale alone is no news."""
    assert none_of(ProfileChanged, tracked("Product Viewed", {"product_id": "mug"}, context={"locale": "en"}))


def test_an_identity_by_address_alone_is_an_address():
    """A customer known only by e-mail can be written to."""
    told = facts(event("Unsubscribed", who=Who(email="Ann@Shop.example"), properties={}))

    assert one(ProfileChanged, told).email == "ann@shop.example"


def test_a_group_is_not_a_person():
    """The traits of a `group` call describe a company."""
    who = Who(user_id="u-1", email="info@company.example")

    assert facts(event(kind="group", who=who, traits={"email": "info@company.example"})) == []


def test_alias_joins_two_identities():
    """`previousId` is the other name of the same person."""
    assert one(IdentitiesJoined, facts(event(kind="alias", previousId="anon-1"))).previous_id == "anon-1"


def test_a_page_named_like_an_event_is_not_that_event():
    """Only track events are looked up in the vocabulary."""
    assert facts(event("Order Completed", kind="page", properties={"order_id": "1"})) == []


# --- consent


@pytest.mark.parametrize(
    "trait",
    [
        "marketing_consent", "marketing_opt_in", "marketingOptIn", "newsletter", "newsletterOptIn", "accepts_marketing",
        "acceptsMarketing", "buyer_accepts_marketing", "marketing_emails", "email_opt_in", "subscribed", "opt_in",
    ],
)  # fmt: skip
@pytest.mark.parametrize(("value", "granted"), [(True, True), (False, False), ("true", True), ("no", False)])
def test_a_consent_trait_grants_or_withdraws_marketing(trait, value, granted):
    """True grants and false withdraws, with the address it came from as evidence."""
    consent = one(ConsentChanged, facts(event(kind="identify", traits={trait: value}, context={"ip": "2001:db8::1"})))

    assert (consent.topic, consent.channel, consent.granted) == (Topic.MARKETING, "email", granted)
    assert (consent.source, consent.ip) == ("identify", "192.0.2.7")


def test_evidence_is_the_address_that_the_door_let_through_or_else_what_the_client_says():
    """Only the door knows whether the store keeps it whole; a payload's is always shortened."""
    told = event(kind="identify", traits={"newsletter": True}, context={"ip": "2001:db8::1"})

    assert one(ConsentChanged, facts(told)).ip == "192.0.2.7"
    assert one(ConsentChanged, facts(told._replace(ip=None))).ip == "2001:db8::1"


@pytest.mark.parametrize("value", [None, "maybe", "", 2, [], {}, "2026-01-01"])
def test_an_unclear_consent_trait_says_nothing(value):
    """Unclear means no (requirements/3): nothing is granted."""
    assert none_of(ConsentChanged, facts(event(kind="identify", traits={"marketing_consent": value})))


def test_consent_traits_that_contradict_each_other_mean_no():
    """Unclear means no."""
    traits = {"accepts_marketing": True, "email_opt_in": False}

    assert one(ConsentChanged, facts(event(kind="identify", traits=traits))).granted is False


@pytest.mark.parametrize("unclear", ["maybe", 2, {}, {"state": "pending"}])
def test_a_yes_beside_an_answer_that_cannot_be_understood_is_no_consent(unclear):
    """Unclear means no; a no beside it stays a no, and an empty field says nothing."""
    traits = {"accepts_marketing": True, "email_marketing_consent": unclear}

    assert none_of(ConsentChanged, facts(event(kind="identify", traits=traits)))
    no = facts(event(kind="identify", traits=traits | {"accepts_marketing": False}))
    assert one(ConsentChanged, no).granted is False
    empty = facts(event(kind="identify", traits=traits | {"email_marketing_consent": ""}))
    assert one(ConsentChanged, empty).granted is True


@pytest.mark.parametrize("channel", ["carrier pigeon", "whatsapp", {}, 7])
def test_subscribing_on_an_unknown_channel_is_consent_to_nothing(channel):
    """Least of all to mail."""
    told = tracked("Newsletter Subscribed", {"channel": channel, "email": "a@b.example"})

    assert [type(fact) for fact in told] == [ProfileChanged]


@pytest.mark.parametrize(
    ("kind", "name", "body"),
    [
        ("identify", None, {"traits": {"marketing_consent": True, "consent_wording": "footer-3"}}),
        ("track", "Newsletter Subscribed", {"properties": {"wording": "footer-3"}}),
        ("track", "Back In Stock Requested", {"properties": {"product_id": "mug", "wording": "footer-3"}}),
        ("track", "Email Preferences Saved", {"properties": {"newsletter": True, "wording": "footer-3"}}),
        ("track", "Order Completed", {"properties": {"customer": {"accepts_marketing": True, "wording": "footer-3"}}}),
    ],
)
def test_a_word_of_consent_comes_with_its_evidence(kind, name, body):
    """Where it was said, with which browser, and on which text (GDPR art. 7 (1))."""
    context = {"userAgent": "Browser/1.0"}
    told = facts(event(name, kind=kind, context=context, **body))
    consent = one(ConsentChanged, told)

    assert (consent.ip, consent.user_agent, consent.wording) == ("192.0.2.7", "Browser/1.0", "footer-3")
    assert consent.message_id is None
    assert all("wording" not in fact.traits for fact in told if isinstance(fact, ProfileChanged))


def test_an_unsubscribe_comes_with_its_evidence():
    """A refusal is proved like a grant."""
    said = one(Unsubscribed, tracked("Unsubscribed", {"wording": "page-2"}, context={"userAgent": "Browser/1.0"}))

    assert (said.ip, said.user_agent, said.wording) == ("192.0.2.7", "Browser/1.0", "page-2")


MESSAGE = UUID("0190a5d0-ac96-77b4-bcce-b302099a8057")
CONFIRMED = {"message_id": str(MESSAGE), "topics": {"newsletter": True, "price_drop_alerts": True, "spam": True}}


def test_a_confirmation_says_what_was_confirmed_through_which_mail():
    """One word on each topic, and one fact without evidence that workflows may see."""
    told = facts(event("Consent Confirmed", who=Who(customer_id=UUID(int=1)), properties=CONFIRMED))

    assert [(fact.topic, fact.granted, fact.source, fact.message_id) for fact in told[:-1]] == [
        (Topic.PRICE_DROP, True, "double_opt_in", MESSAGE), (Topic.NEWSLETTER, True, "double_opt_in", MESSAGE),
    ]  # fmt: skip
    assert told[-1] == ConsentConfirmed(at=told[0].at, message_id=MESSAGE, mail_as_such=True)


@pytest.mark.parametrize("lacking", ["our own id of the customer", "message_id", "topics"])
def test_nobody_outside_can_confirm(lacking):
    """A shop's write key is public; and without a mail, or a topic, there is nothing that was confirmed."""
    who = Who(user_id="u-1") if "id of" in lacking else Who(customer_id=UUID(int=1))
    properties = {name: value for name, value in CONFIRMED.items() if name != lacking}

    assert facts(event("Consent Confirmed", who=who, properties=properties)) == []


@pytest.mark.parametrize(
    ("state", "granted"), [("subscribed", True), ("unsubscribed", False), ("not_subscribed", False)]
)
def test_shopifys_consent_state_is_understood(state, granted):
    """`email_marketing_consent.state` as in Shopify's customer object."""
    traits = {"email_marketing_consent": {"state": state}}

    assert one(ConsentChanged, facts(event(kind="identify", traits=traits))).granted is granted


def test_a_double_opt_in_that_is_pending_is_no_consent():
    """Shopify's `pending` waits for the customer's own click."""
    assert facts(event(kind="identify", traits={"email_marketing_consent": {"state": "pending"}})) == []


def test_every_topic_is_a_trait_of_its_own():
    """Next to other topics `newsletter` is only the newsletter."""
    traits = {topic: index % 2 == 0 for index, topic in enumerate(Topic)}

    consents = [f for f in facts(event(kind="identify", traits=traits)) if isinstance(f, ConsentChanged)]

    assert {c.topic: c.granted for c in consents} == {topic: index % 2 == 0 for index, topic in enumerate(Topic)}


@pytest.mark.parametrize(("trait", "channel"), [("smsOptIn", "sms"), ("pushOptIn", "push")])
def test_other_channels_have_consent_of_their_own(trait, channel):
    """Consent to texts is not consent to mail."""
    assert one(ConsentChanged, facts(event(kind="identify", traits={trait: True}))).channel == channel


def test_an_unticked_box_at_the_checkout_withdraws():
    """Shopify's `buyer_accepts_marketing` comes with each order."""
    consent = one(ConsentChanged, tracked("Order Completed", {"order_id": "1", "buyer_accepts_marketing": False}))

    assert (consent.granted, consent.source) == (False, "checkout")


def test_a_vague_word_on_an_order_is_no_consent():
    """`subscribed` on an order may be a coffee subscription."""
    assert none_of(ConsentChanged, tracked("Order Completed", {"order_id": "1", "subscribed": True}))


def test_signing_up_is_not_consent():
    """Consent comes only from a flag that says so."""
    told = tracked("Signed Up", {"email": "a@b.example", "name": "Ann Lee"})

    assert [type(fact) for fact in told] == [ProfileChanged, SignedUp]
    assert one(ProfileChanged, told).first_name == "Ann"


def test_consent_is_known_before_the_sign_up_that_carries_it():
    """The facts stand in the order in which they are applied."""
    told = tracked("contact_created", {"email": "a@b.example", "accepts_marketing": True})

    assert [type(fact) for fact in told] == [ProfileChanged, ConsentChanged, SignedUp]
    assert one(ConsentChanged, told).source == "registration"


def test_subscribing_to_the_newsletter_is_consent_to_marketing():
    """The form that was used is the evidence."""
    told = tracked("Newsletter Subscribed", {"email": "a@b.example", "source": "footer form"})

    assert [type(fact) for fact in told] == [ProfileChanged, ConsentChanged, NewsletterSubscribed]
    consent = one(ConsentChanged, told)
    assert (consent.topic, consent.granted, consent.source) == (Topic.MARKETING, True, "footer form")
    assert consent.ip == "192.0.2.7"


def test_subscribing_to_texts_is_not_the_newsletter():
    """A newsletter by SMS neither begins the welcome mails nor allows any."""
    told = tracked("Newsletter Subscribed", {"channel": "SMS"})

    assert one(ConsentChanged, told).channel == "sms"
    assert none_of(NewsletterSubscribed, told)


def test_unsubscribing_is_understood_with_or_without_details():
    """An unknown channel is taken for e-mail: to stop is the safe side."""
    assert one(Unsubscribed, tracked("Unsubscribed", "nonsense")).channel == "email"
    assert one(Unsubscribed, tracked("newsletter_unsubscribed", {"channel": "push"})).channel == "push"


def test_saved_preferences_are_one_word_on_each_topic_shown():
    """Topics that were not shown, or hold nonsense, stay as they are."""
    topics = {"newsletter": False, "price_drop_alerts": True, "promotional_emails": "perhaps", "other": True}

    told = tracked("Email Preferences Saved", {"topics": topics, "source": "preferences page"})

    assert {c.topic: c.granted for c in told} == {Topic.NEWSLETTER: False, Topic.PRICE_DROP: True}
    assert {c.source for c in told} == {"preferences page"}


def test_what_a_customer_chose_about_themselves_is_told_as_chosen():
    """Language and time zone of the preferences; a browser's context beside them is no choice."""
    context = {"locale": "en-US", "timezone": "America/New_York"}
    saved = tracked("Email Preferences Saved", {"language": "de-AT", "timezone": "Europe/Vienna"}, context=context)
    assert saved == [ProfileChanged(at=AT, locale="de-AT", timezone="Europe/Vienna", chosen=True)]
    assert tracked("Email Preferences Saved", {"timezone": "at home"}, context=context) == []

    assert one(ProfileChanged, facts(event(kind="identify", context=context))).chosen is False


@pytest.mark.parametrize(
    ("said", "days"),
    [
        ({}, 30),
        ({"days": 7}, 7),
        ({"days": "14"}, 14),
        ({"days": 10**30}, 365),
        ({"days": -1}, 30),
        ({"until": "2026-03-15T12:00:00Z", "days": 2}, 14),
        ({"until": "2026-03-15T14:00:00+02:00"}, 14),
        ({"until": "2026-03-15T12:00:00"}, 14),
        ({"until": "9999-12-31T23:59:59-12:00"}, 30),
        ({"until": "9999-12-31"}, 365),
        ({"until": "soon"}, 30),
        ({"until": "2026-02-28T12:00:00Z"}, -1),
    ],
)
def test_a_pause_lasts_as_long_as_was_said(said, days):
    """Until a moment, or for so many days, a year at most; else for 30 days."""
    assert tracked("Marketing Paused", said) == [MarketingPaused(at=AT, until=AT + timedelta(days=days))]
    assert tracked("Emails Resumed", said) == [MarketingResumed(at=AT)]


# --- products


def test_a_view_tells_of_the_product_too():
    """The catalogue learns from what customers see, marked as possibly stale."""
    told = tracked(
        "Product Viewed",
        {"product_id": "mug", "name": "Blue mug", "price": 18.99, "currency": "eur", "category": "Mugs",
         "url": "https://shop.example/mug", "image_url": "//cdn.shop.example/blue mug.jpg"},
    )  # fmt: skip

    seen = {"product_id": "mug", "category": "Mugs", "price_minor": 1899, "currency": "EUR"}
    assert one(ProductViewed, told) == ProductViewed(at=told[0].at, **seen)
    product = one(ProductChanged, told)
    assert (product.seen, product.price_minor, product.currency, product.stock) == (True, 1899, "EUR", None)
    assert product.image_url == "https://cdn.shop.example/blue%20mug.jpg"


def test_a_bare_view_changes_no_product():
    """Without a word about the product there is nothing to learn."""
    assert [type(fact) for fact in tracked("Product Viewed", {"product_id": 17})] == [ProductViewed]


@pytest.mark.parametrize(
    "properties",
    [
        {"product_id": "mug"}, {"productId": "mug"}, {"ProductID": "mug"}, {"id": "mug"}, {"sku": "mug"},
        {"variant_id": "mug"}, {"product": {"id": "mug"}}, {"items": [{"item_id": "mug"}]}, {"products": ["mug"]},
        {"product_id": "", "sku": "mug"}, {"product_id": None, "sku": "mug"}, {"product_id": "x" * 201, "sku": "mug"},
    ],
)  # fmt: skip
def test_a_product_is_found_under_any_of_its_names(properties):
    """Clients disagree on where the id stands and how it is spelt."""
    assert one(ProductViewed, tracked("Product Viewed", properties)).product_id == "mug"


@pytest.mark.parametrize("product_id", [None, "", "   ", "x" * 201, "a\x00b", True, {}, [], 1.5, 10**300])
def test_an_unusable_product_id_names_no_product(product_id):
    """An id that had to be cut or cleaned would name another product."""
    assert tracked("Product Viewed", {"product_id": product_id, "name": "Mug"}) == []


def test_only_web_addresses_reach_a_mail():
    """`javascript:` and relative links are of no use there, or worse."""
    for url in ("javascript:alert(1)", "/mug", "https://", "ftp://x.example", "https://[bad", "https://x\x00.example"):
        told = tracked("Product Viewed", {"product_id": "mug", "name": "Mug", "url": url, "image_url": url})
        assert (one(ProductChanged, told).url, one(ProductChanged, told).image_url) == (None, None)


def test_the_stores_own_currency_fills_the_gap():
    """An amount without a currency is in the store's."""
    view = event("Product Viewed", properties={"product_id": "mug", "price": 500})

    assert one(ProductViewed, facts(view)).price_minor == 50_000
    assert one(ProductViewed, facts(view, currency="JPY")).price_minor == 500


def test_minor_units_are_taken_as_they_are():
    """`price_minor` needs no currency to be understood."""
    assert one(ProductViewed, tracked("Product Viewed", {"product_id": "mug", "price_minor": 1999})).price_minor == 1999


@pytest.mark.parametrize(("said", "seconds"), [(45, 45), ("45", 45), (45.9, 45), (10**9, 86_400)])
def test_a_view_has_a_length(said, seconds):
    """Seconds, at most a day."""
    assert one(ViewTimed, tracked("Product View Timed", {"product_id": "mug", "duration": said})).duration_s == seconds


@pytest.mark.parametrize("said", [-1, None, "long", float("nan"), True])
def test_a_view_of_no_length_is_none(said):
    """Nonsense is not taken for zero seconds."""
    assert tracked("Product View Timed", {"product_id": "mug", "duration": said}) == []


@pytest.mark.parametrize(
    ("properties", "stock"),
    [
        ({"stock": 5}, 5), ({"inventory": "7"}, 7), ({"quantity": 0}, 0), ({"inventory_quantity": -3}, 0),
        ({"available_quantity": 10**12}, 10**9), ({"in_stock": True}, 1), ({"in_stock": True, "stock": 4}, 4),
        ({"in_stock": False, "stock": 4}, 0), ({"availability": "out of stock"}, 0), ({"availability": "in_stock"}, 1),
        ({"stock": "many"}, None), ({}, None),
    ],
)  # fmt: skip
def test_stock_is_read_from_numbers_and_words(properties, stock):
    """No number and no word: the stock was not mentioned."""
    product = one(ProductChanged, tracked("Product Updated", {"product_id": "mug", **properties}))

    assert (product.stock, product.seen, product.withdrawn) == (stock, False, None)


def test_back_in_stock_without_a_number_means_at_least_one():
    """The bare word is enough to tell those who wait; an explicit zero is not overruled."""
    assert one(ProductChanged, tracked("Back In Stock", {"product_id": "mug"})).stock == 1
    assert one(ProductChanged, tracked("Product Restocked", {"product_id": "mug", "stock": 40})).stock == 40
    assert one(ProductChanged, tracked("Product Restocked", {"product_id": "mug", "stock": 0})).stock == 0
    assert one(ProductChanged, tracked("Sold Out", {"product_id": "mug"})).stock == 0


@pytest.mark.parametrize("flag", ["discontinued", "withdrawn", "archived"])
def test_a_product_can_be_withdrawn(flag):
    """And come back."""
    assert one(ProductChanged, tracked("Product Updated", {"product_id": "mug", flag: True})).withdrawn is True
    assert one(ProductChanged, tracked("Product Updated", {"product_id": "mug", flag: False})).withdrawn is False
    assert one(ProductChanged, tracked("Product Discontinued", {"product_id": "mug"})).withdrawn is True


def test_a_lower_price_is_the_new_one():
    """Price Dropped names both."""
    told = tracked("Price Dropped", {"product_id": "mug", "old_price": 20, "new_price": "15.00"})

    assert one(ProductChanged, told).price_minor == 1500


def test_asking_for_the_alert_is_the_consent_to_it():
    """And to nothing else."""
    told = tracked("Back In Stock Requested", {"product_id": "mug", "email": "a@b.example"})

    assert [type(fact) for fact in told] == [ProfileChanged, ConsentChanged, StockRequested]
    consent = one(ConsentChanged, told)
    assert (consent.topic, consent.granted, consent.source) == (Topic.BACK_IN_STOCK, True, "back_in_stock_request")


@pytest.mark.parametrize(
    ("said", "percent"),
    [({"drop_percent": 20}, 20), ({"percentage": "15"}, 15), ({"percent": 2.9}, 2), ({}, None)]
    + [({"drop_percent": absurd}, None) for absurd in (0, -5, 100, 1e30, "half", None)],
)
def test_a_watched_product_may_have_a_percentage_instead(said, percent):
    """From 1 to 99; anything else is not said."""
    watched = one(ProductWatched, tracked("Product Added to Wishlist", {"product_id": "mug"} | said))

    assert (watched.drop_percent, watched.currency) == (percent, None)


def test_what_the_customer_saw_a_product_cost_is_kept_with_its_currency():
    """At a look and at a wish; without an amount there is no currency."""
    told = {"product_id": "mug", "price": "20.00", "currency": "EUR"}
    seen = one(ProductViewed, tracked("Product Viewed", told))
    watched = one(ProductWatched, tracked("Product Added to Wishlist", told))

    assert (seen.price_minor, seen.currency) == (watched.price_minor, watched.currency) == (2000, "EUR")
    assert one(ProductViewed, tracked("Product Viewed", {"product_id": "mug"})).currency is None


@pytest.mark.parametrize(("name", "fact"), [("Watched Price Fell", PriceDropped), ("Watched Price Rose", PriceRose)])
def test_a_customer_is_told_of_a_price_by_ourselves_only(name, fact):
    """Only we name customers by our own id; the same event from outside means nothing."""
    ours = event(name, properties={"product_id": "mug"}, who=Who(customer_id=UUID(int=1)))

    assert facts(ours) == [fact(at=ours.at, product_id="mug")]
    assert tracked(name, {"product_id": "mug"}) == []


def test_a_watched_product_has_a_target_price():
    """In decimals or minor units; alerts on price drops unless refused."""
    decimal = one(ProductWatched, tracked("Product Added to Wishlist", {"product_id": "mug", "target_price": "15.00"}))
    minor = one(ProductWatched, tracked("add_to_wishlist", {"product_id": "mug", "target_price_minor": 1500}))
    refused = {"product_id": "mug", "notify_on_price_drop": False, "notify_on_restock": True}

    assert decimal.target_price_minor == minor.target_price_minor == 1500
    assert (decimal.notify_on_price_drop, decimal.notify_on_restock) == (True, False)
    watched = one(ProductWatched, tracked("Product Added to Wishlist", refused))
    assert (watched.notify_on_price_drop, watched.notify_on_restock) == (False, True)
    assert one(ProductUnwatched, tracked("Product Removed from Wishlist", {"id": "mug"})).product_id == "mug"


# --- cart and orders


@pytest.mark.parametrize(
    ("name", "removed"),
    [("Product Added", False), ("Wishlist Product Added to Cart", False), ("Product Removed", True)],
)
def test_a_line_goes_into_the_cart_or_out(name, removed):
    """One unit unless told otherwise."""
    change = one(
        CartLineChanged, tracked(name, {"product_id": "mug", "name": "Mug", "price": "18.99", "cart_id": "c1"})
    )

    assert change.line == Line(product_id="mug", quantity=1, name="Mug", price_minor=1899)
    assert (change.removed, change.currency, change.cart_id) == (removed, "USD", "c1")


@pytest.mark.parametrize(
    ("said", "quantity"), [(3, 3), ("3", 3), (2.7, 2), (0.5, 1), (10**30, 1_000_000), ("x", 1), (None, 1)]
)
def test_a_quantity_is_held_to_what_a_line_may_be(said, quantity):
    """Absurd numbers are cut, words are not said."""
    assert (
        one(CartLineChanged, tracked("Product Added", {"product_id": "mug", "quantity": said})).line.quantity
        == quantity
    )


@pytest.mark.parametrize("quantity", [0, -1, "-5"])
def test_no_units_are_no_change(quantity):
    """Adding nothing adds nothing."""
    assert none_of(CartLineChanged, tracked("Product Added", {"product_id": "mug", "quantity": quantity}))


def test_several_products_can_be_added_at_once():
    """GA4's add_to_cart carries a list."""
    told = tracked("add_to_cart", {"items": [{"item_id": "mug", "quantity": 2}, {"item_id": "pot"}]})

    changes = [fact for fact in told if isinstance(fact, CartLineChanged)]
    assert [(c.line.product_id, c.line.quantity) for c in changes] == [("mug", 2), ("pot", 1)]


def test_a_product_added_with_the_whole_cart_beside_it_is_one_change():
    """Klaviyo's Added to Cart names the product and lists the cart."""
    told = tracked(
        "Added to Cart", {"AddedItemProductID": "mug", "AddedItemQuantity": 2, "Items": [{"ProductID": "pot"}]}
    )

    assert one(CartLineChanged, told).line == Line(product_id="mug", quantity=2)


@pytest.mark.parametrize("name", ["Cart Viewed", "Cart Updated", "Cart Abandoned", "Checkout Started", "cart_created"])
@pytest.mark.parametrize("rows", ["products", "items", "line_items", "cart_items"])
@pytest.mark.parametrize("inside", [None, "cart", "cart_data"])
def test_a_list_of_products_is_the_whole_cart(name, rows, inside):
    """Wherever it stands."""
    cart = {
        rows: [{"product_id": "mug", "price": 5, "quantity": 2}, {"sku": "pot"}],
        "checkout_url": "https://s.example/c",
    }

    report = one(CartReported, tracked(name, {inside: cart} if inside else cart))

    assert [(line.product_id, line.quantity, line.price_minor) for line in report.lines] == [
        ("mug", 2, 500),
        ("pot", 1, None),
    ]
    assert report.checkout_url == "https://s.example/c"


def test_an_empty_list_is_an_empty_cart_and_no_list_is_no_news():
    """Cart Viewed without products must not empty the cart, nor must products nobody can make sense of."""
    assert one(CartReported, tracked("Cart Updated", {"products": []})).lines == ()
    assert one(CartReported, tracked("Cart Updated", {"products": [{"id": "mug", "quantity": 0}]})).lines == ()
    assert one(CartReported, tracked("Cart Cleared")).lines == ()
    for nothing in (
        {},
        {"products": None},
        {"products": "two"},
        {"products": {}},
        {"products": [{"colour": "blue"}, None]},
    ):
        assert none_of(CartReported, tracked("Cart Viewed", nothing))


def test_an_order_is_a_purchase_with_its_details():
    """The fields of Segment's Order Completed."""
    order = one(
        OrderPlaced,
        tracked("Order Completed", {
            "order_id": 5001, "checkout_id": "ck", "total": "27.50", "revenue": 25, "currency": "EUR",
            "coupon": "CART10", "products": [{"product_id": "mug", "price": 13.75, "quantity": 2}],
        }),
    )  # fmt: skip

    assert (order.order_id, order.total_minor, order.currency, order.coupon) == ("5001", 2750, "EUR", "CART10")
    assert order.lines == (Line(product_id="mug", quantity=2, price_minor=1375),)


@pytest.mark.parametrize(
    "key", ["order_id", "orderId", "OrderId", "order_number", "transaction_id", "id", "checkout_id"]
)
def test_an_order_is_known_by_any_of_its_numbers(key):
    """The purchase and its refund must meet under the same id."""
    assert one(OrderPlaced, tracked("Placed Order", {key: "A-1"})).order_id == "A-1"


@pytest.mark.parametrize("properties", [None, {}, "x", {"order_id": None}, {"order_id": "x" * 201}, {"products": "x"}])
def test_a_purchase_without_a_number_is_still_a_purchase(properties):
    """Better an order under the event's own id than a reminder after the purchase."""
    assert one(OrderPlaced, tracked("Order Completed", properties, message_id="m-77")).order_id == "m-77"


@pytest.mark.parametrize(
    ("properties", "minor"),
    [
        ({"revenue": 10}, 1000), ({"value": "10.005"}, 1001), ({"subtotal": 9.99}, 999), ({"total": -5}, 0), ({}, 0),
        ({"total": "free", "value": 3}, 300), ({"total": {"amount": "3.50"}}, 350), ({"total": "NaN"}, 0),
        ({"products": [{"id": "a", "price": 2, "quantity": 3}, {"id": "b", "price": 1}]}, 700),
    ],
)  # fmt: skip
def test_the_total_is_the_first_usable_amount(properties, minor):
    """Else what the lines add up to."""
    assert one(OrderPlaced, tracked("Order Completed", {"order_id": "1", **properties})).total_minor == minor


@pytest.mark.parametrize(
    "coupon",
    [{"coupon": "X1"}, {"discount_code": "X1"}, {"discount_codes": ["X1", "Y"]}, {"discount_codes": [{"code": "X1"}]}],
)
def test_the_discount_code_is_found(coupon):
    """It credits a message when there was no click."""
    assert one(OrderPlaced, tracked("Order Completed", {"order_id": "1", **coupon})).coupon == "X1"


def test_the_mark_of_our_links_is_found():
    """Passed on by the shop, or still in the address of the page; a `ref` of the shop's own is not ours."""
    page = {"page": {"url": f"https://shop.example/thanks?a=b&ref={REF}"}}

    assert one(OrderPlaced, tracked("Order Completed", {"ref": REF})).ref == REF
    assert one(OrderPlaced, tracked("Order Completed", {"ref": "homepage"}, context=page)).ref == REF
    assert one(OrderPlaced, tracked("Order Completed", {"ref": "homepage"})).ref is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [("Order Updated", OrderUpdated), ("Order Refunded", OrderRefunded), ("Order Cancelled", OrderCancelled)],
)
def test_what_became_of_an_order_needs_its_number(name, kind):
    """Without one there is no order to speak of."""
    assert one(kind, tracked(name, {"order_id": "A-1"})).order_id == "A-1"
    assert tracked(name, {"total": 5}) == []


# --- our messages


def test_opens_and_clicks_name_the_message():
    """A click without its address still counts; without its message it is nobody's."""
    message = "0190a5d0-ac96-77b4-bcce-b302099a8057"

    assert one(MessageOpened, tracked("Email Opened", {"message_id": message})).message_id == UUID(message)
    click = one(LinkClicked, tracked("Email Link Clicked", {"message_id": message, "url": "https://shop.example/"}))
    assert (click.message_id, click.url) == (UUID(message), "https://shop.example/")
    assert one(LinkClicked, tracked("Email Link Clicked", {"message_id": message})).url == ""
    assert tracked("Email Opened", {"message_id": "not ours"}) == tracked("Email Link Clicked", {}) == []


# --- and the rest


@pytest.mark.parametrize("name", ["Products Searched", "Promotion Clicked", "Coupon Applied", "Product Reviewed"])
def test_known_events_without_a_meaning_here_are_stored_only(name):
    """They are part of the spec, so they are no surprise, and no journey cares."""
    assert tracked(name, {"product_id": "mug", "query": "mug"}) == []
