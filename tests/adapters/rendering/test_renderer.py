"""The renderer: what a template can do, what it cannot, and what it is told when it is broken."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.channels.mime import wire
from adapters.rendering.renderer import TemplateRenderer
from domain.errors import TemplateBroken
from domain.ids import rfc_message_id
from domain.message import Material
from domain.tokens import Purpose, Signer

Written = Callable[..., TemplateRenderer]


@pytest.fixture
def own(material: Material) -> Material:
    return material.model_copy(update={"template": "own"})


class TestVariables:
    """Names, defaults, money, and what is kept out."""

    def test_markup_in_a_product_name_is_only_text(self, renderer: TemplateRenderer, material: Material) -> None:
        """A catalogue is foreign input: it cannot add elements or attributes to a message."""
        evil = '"><script>alert(1)</script>'
        line = material.lines[0].model_copy(update={"name": evil, "image_url": "https://hearth.example/mug.jpg"})
        rendered = renderer.render(material.model_copy(update={"lines": (line,)}))

        assert "<script" not in rendered.html
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in rendered.html
        assert 'alt="&#34;&gt;&lt;script&gt;' in rendered.html
        assert evil in rendered.text
        assert evil in rendered.subject

    @settings(deadline=None, max_examples=60)
    @given(name=st.text(max_size=40))
    def test_any_name_renders(self, renderer: TemplateRenderer, material: Material, name: str) -> None:
        """No text that a client sends can break a message or begin another header."""
        lines = (material.lines[0].model_copy(update={"name": name}),)
        store = material.store.model_copy(update={"name": name or "x"})
        rendered = renderer.render(material.model_copy(update={"first_name": name, "lines": lines, "store": store}))

        assert rendered.subject == " ".join(rendered.subject.splitlines()).strip()
        assert rendered.html.count("<a ") == renderer.render(material.model_copy(update={"lines": lines})).html.count(
            "<a "
        )

    def test_a_variable_without_value_and_default_is_an_error(self, written: Written, own: Material) -> None:
        """A mail that would say "Hello ," is not sent; the error names the template and the variable."""
        renderer = written("Hello {{ first_name }},")

        assert "Hello Ada," in renderer.render(own).text
        with pytest.raises(TemplateBroken, match=r"own.*first_name"):
            renderer.render(own.model_copy(update={"first_name": None}))

    def test_a_default_stands_in_for_a_missing_value(self, written: Written, own: Material) -> None:
        """`default` and `if` both know a missing value."""
        renderer = written(
            '{{ first_name | default: "there" }}{% if product.name %} product{% else %} nothing{% endif %}'
        )

        assert "there nothing" in renderer.render(own.model_copy(update={"first_name": " ", "product": None})).text

    @pytest.mark.parametrize(
        "name", ["Win €500: spam.example/x", "spam.example", "a" * 41, "Call 0900123", "<b>", "\u202e\n"]
    )
    def test_an_advertisement_is_not_a_first_name(self, written: Written, own: Material, name: str) -> None:
        """Sign-up forms are abused to send advertisements in our name to strangers."""
        renderer = written('Hello {{ first_name | default: "there" }}!')

        assert "Hello there!" in renderer.render(own.model_copy(update={"first_name": name})).text

    @pytest.mark.parametrize("name", ["Ada", "J.R.", "Anne-Marie", "O'Neil", "Łukasz", "美咲", "María José"])
    def test_a_first_name_is_a_first_name(self, written: Written, own: Material, name: str) -> None:
        """Names of any script are used as they are."""
        renderer = written('Hello {{ first_name | default: "there" }}!')

        assert f"Hello {name}!" in renderer.render(own.model_copy(update={"first_name": name})).text

    @pytest.mark.parametrize(
        ("minor", "currency", "locale", "shown"),
        [
            (1450, "GBP", "en-GB", "£14.50"),
            (123456, "EUR", "de_DE", "1.234,56 €"),
            (1500, "JPY", "en", "¥1,500"),
            (1234, "KWD", "en", "KWD1.234"),
            (1999, "PKR", "en", "PKR19.99"),
            (500, "usd", "no such locale", "$5.00"),
        ],
    )
    def test_money_is_written_as_the_customer_does(
        self, written: Written, own: Material, minor: int, currency: str, locale: str, shown: str
    ) -> None:
        """Minor units become an amount with the currency's own decimals, in the customer's locale."""
        filled = own.model_copy(update={"total_minor": minor, "currency": currency, "locale": locale})

        assert f"[{shown}]" in written("[{{ total | money }}]").render(filled).text

    def test_a_products_own_currency_wins(self, written: Written, own: Material) -> None:
        """A product may be priced in another currency than the cart; without one it has the cart's."""
        renderer = written("[{{ product.price | money: product.currency }}]")
        assert own.product is not None
        dollars = own.product.model_copy(update={"currency": "USD"})

        assert "[£14.50]" in renderer.render(own).text
        assert "[US$14.50]" in renderer.render(own.model_copy(update={"product": dollars})).text


class TestLimits:
    """Templates are written by anyone, so they can do nothing but make text."""

    @pytest.mark.parametrize(
        "path", ["first_name.__class__", "lines.__class__", "store.__class__.__mro__", 'lines[0]["__dict__"]']
    )
    def test_the_inside_of_python_is_out_of_reach(self, written: Written, own: Material, path: str) -> None:
        """Attributes of Python objects do not exist for a template."""
        assert "nothing" in written(f'{{{{ {path} | default: "nothing" }}}}').render(own).text
        with pytest.raises(TemplateBroken):
            written(f"{{{{ {path} }}}}").render(own)

    @pytest.mark.parametrize(
        "bomb",
        [
            "{% for a in (1..100) %}{% for b in (1..100) %}{% for c in (1..100) %}" + "{% endfor %}" * 3,
            '{% assign a = "ha" %}' + "{% assign a = a | append: a | append: a | append: a %}" * 20 + "{{ a }}",
            "{% for i in (1..4000) %}" + "x" * 1000 + "{% endfor %}",
            '{% render "own/body.mjml" %}',
        ],
    )  # fmt: skip
    def test_a_bomb_is_stopped(self, written: Written, own: Material, bomb: str) -> None:
        """Loops, growing strings, long output and recursion end in an error, not in a full machine."""
        with pytest.raises(TemplateBroken, match="template own"):
            written(bomb).render(own)

    @pytest.mark.parametrize(
        "broken", ["{% if %}", "{{ first_name | no_such_filter }}", "{% include '../../etc/passwd' %}", "</mj-text>"]
    )
    def test_a_broken_template_is_named(self, written: Written, own: Material, broken: str) -> None:
        """Whoever has to repair it learns which one it is."""
        with pytest.raises(TemplateBroken, match=r"template own: ."):
            written(broken).render(own)

    def test_a_template_that_does_not_exist_is_named(self, renderer: TemplateRenderer, material: Material) -> None:
        """A plan may name a template that nobody has written."""
        with pytest.raises(TemplateBroken, match="template no-such: "):
            renderer.render(material.model_copy(update={"template": "no-such"}))

    def test_marketing_without_an_unsubscribe_link_is_not_rendered(self, written: Written, own: Material) -> None:
        """The law wants the link in the message, so a template cannot leave it out of either part."""
        with pytest.raises(TemplateBroken, match="unsubscribe"):
            written(text="Hello").render(own)

        assert written(text="Hello").render(own.model_copy(update={"transactional": True})).text == "Hello\n"

    def test_a_request_to_confirm_needs_its_link_which_is_good_for_some_time(
        self, written: Written, own: Material, signer: Signer
    ) -> None:
        """It leads to the page itself, not over a redirect; to everybody else the variable is unknown."""
        until = datetime(2026, 3, 1, tzinfo=UTC)
        asking = own.model_copy(update={"transactional": True, "confirm_by": until})
        with pytest.raises(TemplateBroken, match="confirmation needs its link"):
            written("Hello").render(asking)

        token = written("{{ confirm_url }}").render(asking).text.partition("/confirm?token=")[2].split()[0]
        assert signer.claims(token, Purpose.CONFIRM).expires_at == until
        with pytest.raises(TemplateBroken, match="confirm_url"):
            written("{{ confirm_url }}").render(own)

    @pytest.mark.parametrize("subject", ["", " \n ", "{% if false %}x{% endif %}"])
    def test_an_empty_subject_is_an_error(self, written: Written, own: Material, subject: str) -> None:
        """No mail goes out without a subject."""
        with pytest.raises(TemplateBroken, match="subject"):
            written(subject=subject).render(own)

    def test_a_subject_is_one_line_and_not_escaped(self, written: Written, own: Material) -> None:
        """A subject is text, not HTML, and cannot become a second header."""
        product = (
            own.product.model_copy(update={"name": "Salt & Pepper\r\nBcc: eve@evil.example"}) if own.product else None
        )
        rendered = written(subject=" {{ product.name }}\n is back \n").render(
            own.model_copy(update={"product": product})
        )

        assert rendered.subject == "Salt & Pepper Bcc: eve@evil.example is back"


class TestLinks:
    """Tracked links lead to the shop and nowhere else."""

    @pytest.mark.parametrize(
        ("url", "leads_to"),
        [
            ("https://hearth.example/mug", "https://hearth.example/mug?ref={ref}"),
            ("https://hearth.example/mug?a=1&b=%20#top", "https://hearth.example/mug?a=1&b=%20&ref={ref}#top"),
            ("https://hearth.example/?ref=old&a=1", "https://hearth.example/?a=1&ref={ref}"),
            ("/towel", "https://hearth.example/towel?ref={ref}"),
            ("https://bücher.example/ü", "https://xn--bcher-kva.example/%C3%BC?ref={ref}"),
            ("https://hearth.example/a\r\nSet-Cookie: x", "https://hearth.example/aSet-Cookie:%20x?ref={ref}"),
            ("https://bank.example@hearth.example:8443/", "https://hearth.example:8443/?ref={ref}"),
            ("javascript:alert(1)", "https://hearth.example?ref={ref}"),
            ("data:text/html,x", "https://hearth.example?ref={ref}"),
            ("ftp://hearth.example/x", "https://hearth.example?ref={ref}"),
            ("https://[broken", "https://hearth.example?ref={ref}"),
            ("https://", "https://hearth.example?ref={ref}"),
            (None, "https://hearth.example?ref={ref}"),
        ],
    )
    def test_a_link_leads_to_the_shop(self, written: Written, own: Material, url: str | None, leads_to: str) -> None:
        """http(s) URLs get `ref`; whatever is no web address leads to the store's front page."""
        rendered = written("{{ checkout_url | link }}").render(own.model_copy(update={"checkout_url": url}))

        assert rendered.urls == (leads_to.format(ref=f"jn_{own.message_id.hex}"),)

    def test_an_address_in_a_template_leads_where_it_says(self, written: Written, own: Material) -> None:
        """It is the same link as when the shop had told it."""
        url = "https://hearth.example/mugs?a=1&b=2"
        rendered = written(f'{{{{ "{url}" | link }}}} {{{{ checkout_url | link }}}}').render(
            own.model_copy(update={"checkout_url": url})
        )

        assert rendered.urls == (f"{url}&ref=jn_{own.message_id.hex}",)

    def test_the_same_url_has_the_same_position(self, written: Written, own: Material, signer: Signer) -> None:
        """Text and HTML, picture and name: one target is counted as one link."""
        shop, cart = "{{ store.url | link }}", "{{ checkout_url | link }}"
        rendered = written(f"{cart} {shop} {cart}", text=f"{shop} {{{{ unsubscribe_url }}}}").render(own)

        assert [url.split("?")[0] for url in rendered.urls] == ["https://hearth.example/cart", "https://hearth.example"]
        token = rendered.text.split()[0].partition("token=")[2]
        assert signer.claims(token, Purpose.CLICK).link == 1

    def test_a_link_says_nothing_but_its_message_and_position(
        self, renderer: TemplateRenderer, material: Material, signer: Signer
    ) -> None:
        """No address and no customer in a link: it can neither be redirected nor read (G8)."""
        rendered = renderer.render(material)
        for position in range(len(rendered.urls)):
            token = signer.token(material.message_id, Purpose.CLICK, position)
            assert f"https://mail.example/track/email-click?token={token}" in rendered.html
        assert material.email not in rendered.html

    def test_two_messages_do_not_share_their_links(self, renderer: TemplateRenderer, material: Material) -> None:
        """Templates are cached; what one render collected is not."""
        other = material.model_copy(update={"message_id": uuid4(), "lines": ()})
        first, second, third = renderer.render(material), renderer.render(other), renderer.render(material)

        assert first == third
        assert not set(first.urls) & set(second.urls)


class TestLetter:
    """A rendered message gets its address."""

    def test_a_letter_is_addressed(self, renderer: TemplateRenderer, material: Material, signer: Signer) -> None:
        """Identifiers are made from ids only, and are the same for every attempt."""
        rendered = renderer.render(material)
        letter = renderer.letter(material, rendered)

        assert letter == renderer.letter(material, rendered)
        assert letter.message_id == rfc_message_id(material.message_id, "hearth.example")
        assert (letter.to, letter.to_name) == ("ada@customers.example", "Ada Byron")
        assert (letter.sender, letter.sender_name) == ("hello@hearth.example", "Hearth")
        assert letter.list_id == "<cart-recovery.hearth.hearth.example>"
        assert letter.feedback_id == "hearth:cart-recovery:reminder-1:journeys"
        token = signer.token(material.message_id, Purpose.UNSUBSCRIBE)
        assert letter.unsubscribe_url == f"https://mail.example/unsubscribe?token={token}"
        assert (letter.subject, letter.html, letter.text) == (rendered.subject, rendered.html, rendered.text)

    def test_a_store_with_an_international_domain_can_write(
        self, renderer: TemplateRenderer, material: Material
    ) -> None:
        """Its identifiers are in ASCII, for a Message-ID cannot be encoded; the sender stays what it is."""
        store = material.store.model_copy(update={"sender_email": "hello@bücher.example"})
        writing = material.model_copy(update={"store": store})
        letter = renderer.letter(writing, renderer.render(writing))

        assert letter.sender == "hello@bücher.example"
        assert letter.message_id == rfc_message_id(material.message_id, "xn--bcher-kva.example")
        assert letter.list_id == "<cart-recovery.hearth.xn--bcher-kva.example>"
        assert b"hello@xn--bcher-kva.example" in wire(letter, datetime(2026, 3, 1, tzinfo=UTC))

    def test_a_transactional_letter_offers_no_unsubscribe(self, renderer: TemplateRenderer, material: Material) -> None:
        """There is nothing to unsubscribe from."""
        receipt = material.model_copy(update={"template": "order-thank-you", "transactional": True})

        assert renderer.letter(receipt, renderer.render(receipt)).unsubscribe_url is None

    def test_an_odd_store_id_cannot_break_an_identifier(self, renderer: TemplateRenderer, material: Material) -> None:
        """Colons and dots would shift the fields of Feedback-ID and List-Id."""
        odd = material.model_copy(update={"store": material.store.model_copy(update={"store_id": "Shop: A.B/ü>"})})
        letter = renderer.letter(odd, renderer.render(odd))

        assert letter.feedback_id == "shop-a-b:cart-recovery:reminder-1:journeys"
        assert letter.list_id == "<cart-recovery.shop-a-b.hearth.example>"
