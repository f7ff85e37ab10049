"""The excerpt of UCI Online Retail as invoices: real orders and real credit notes, line by line (data/README.md)."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby
from operator import attrgetter
from pathlib import Path

EXCERPT = Path(__file__).parent / "data" / "online_retail_excerpt.csv"
COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")


@dataclass(frozen=True)
class Row:
    """One line of the data set."""

    invoice: str
    product: str
    description: str
    quantity: int
    at: datetime
    price: Decimal
    customer: str
    country: str

    @classmethod
    def parsed(cls, row: dict[str, str]) -> "Row":
        """Read a row of the CSV file."""
        invoice, product, description, quantity, at, price, customer, country = (row[column] for column in COLUMNS)
        moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
        return cls(invoice, product, description, int(quantity), moment, Decimal(price), customer, country)

    @property
    def is_goods(self) -> bool:
        """Tell goods from postage, discounts, manual corrections and bank charges, whose codes are letters."""
        return self.product[:1].isdigit() and self.price > 0


@dataclass(frozen=True)
class Invoice:
    """An order, or the credit note for one (its number begins with C and its quantities are negative)."""

    number: str
    customer: str
    country: str
    at: datetime
    rows: tuple[Row, ...]

    @property
    def is_credit_note(self) -> bool:
        return self.number.startswith("C")

    @property
    def goods(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.is_goods)


def invoices(rows: Iterable[dict[str, str]], most_rows: int | None = None) -> list[Invoice]:
    """Group rows into the invoices of known customers that contain goods, oldest first.

    Args:
        rows: Rows of the CSV file; an invoice's rows follow each other.
        most_rows: Keep only this many first rows of each invoice.
    """
    found = []
    for number, group in groupby((Row.parsed(row) for row in rows if row["CustomerID"]), key=attrgetter("invoice")):
        lines = tuple(group)[:most_rows]
        invoice = Invoice(number, lines[0].customer, lines[0].country, lines[0].at, lines)
        if invoice.goods:
            found.append(invoice)
    return sorted(found, key=lambda invoice: (invoice.at, invoice.number))


def taken_back(note: Invoice, orders: Sequence[Invoice]) -> Invoice | None:
    """Find the order that a credit note is about: the customer's newest earlier one with one of its products.

    The data set does not say which order a credit note belongs to.
    """
    products = {row.product for row in note.goods}
    earlier = [o for o in orders if o.customer == note.customer and o.at < note.at]
    shared = [o for o in earlier if products & {row.product for row in o.goods}]
    return max(shared, key=lambda order: order.at, default=None)


def read(path: Path = EXCERPT) -> list[Invoice]:
    """Read the excerpt."""
    with path.open(encoding="utf-8", newline="") as file:
        return invoices(csv.DictReader(file))
