"""Cut the demo's excerpt out of the full UCI Online Retail file: `python -m cli.demo.cut_excerpt online_retail.csv.gz`.

Takes the full data set as CSV with its eight columns (plain or gzip). The same file gives the same excerpt: customers
are drawn in the order of a hash of their id, not by chance. What is kept and what is changed stands in data/README.md.
"""

import csv
import gzip
import sys
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from cli.demo.excerpt import COLUMNS, EXCERPT, Invoice, invoices, taken_back

FIRST_DAY = datetime(2011, 3, 1, tzinfo=UTC)
DAYS = 60
MOST_ROWS = 6
"""Rows kept of each invoice, from its first."""
MOST_ORDERS_EACH = 5
"""Customers with more orders than this in the window are resellers, not shoppers; they are left out."""
RETURNERS, REPEATERS, ONE_TIMERS = 20, 45, 140
"""How many customers with a credit note, with several orders, and with one order are kept."""


def rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of the window, without the blanks at the ends of texts."""
    first, end = (str((FIRST_DAY + timedelta(days)).date()) for days in (0, DAYS))
    with gzip.open(path, "rt", encoding="utf-8", newline="") if path.suffix == ".gz" else path.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["CustomerID"] and first <= row["InvoiceDate"] < end:
                yield {column: row[column].strip() for column in COLUMNS}


def excerpt(path: Path) -> list[Invoice]:
    """Choose the customers and return their invoices, oldest first."""
    orders: dict[str, list[Invoice]] = defaultdict(list)
    notes: dict[str, list[Invoice]] = defaultdict(list)
    for invoice in invoices(rows(path), MOST_ROWS):
        (notes if invoice.is_credit_note else orders)[invoice.customer].append(invoice)
    few = [customer for customer in orders if len(orders[customer]) <= MOST_ORDERS_EACH]
    shoppers = sorted(few, key=lambda customer: sha256(customer.encode()).digest())
    kept_notes = {c: [note for note in notes[c] if taken_back(note, orders[c])] for c in shoppers}
    returners = [c for c in shoppers if kept_notes[c]][:RETURNERS]
    repeaters = [c for c in shoppers if not notes[c] and len(orders[c]) > 1][:REPEATERS]
    one_timers = [c for c in shoppers if not notes[c] and len(orders[c]) == 1][:ONE_TIMERS]
    chosen = [invoice for c in (*returners, *repeaters, *one_timers) for invoice in (*orders[c], *kept_notes[c])]
    return sorted(chosen, key=lambda invoice: (invoice.at, invoice.number))


def write(chosen: list[Invoice], path: Path = EXCERPT) -> None:
    """Write the excerpt with the columns of the data set."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in (row for invoice in chosen for row in invoice.rows):
            at = row.at.strftime("%Y-%m-%d %H:%M:%S")
            texts = (row.invoice, row.product, row.description, row.quantity, at, row.price, row.customer, row.country)
            writer.writerow(texts)


if __name__ == "__main__":
    write(excerpt(Path(sys.argv[1])))
