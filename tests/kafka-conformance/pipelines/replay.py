"""The slice of a real shop's year that the repository carries: its events, and what its views must be, computed here once more."""

import csv
import json
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PIPELINE = ROOT / "crates/server/src/replay/pipeline.sql"
SLICE = ROOT / "tests/data/online_retail_slice.csv"
TOPICS = ["order_lines", "cancelled_lines"]


def lines():
    with open(SLICE, newline="", encoding="utf-8-sig") as file:
        for line in csv.DictReader(file):
            customer = line["CustomerID"]
            yield {
                "invoice": line["InvoiceNo"],
                "sku": line["StockCode"],
                "description": line["Description"],
                "quantity": int(line["Quantity"]),
                "unit_price": line["UnitPrice"],
                "customer_id": int(float(customer)) if customer else None,
                "country": line["Country"],
                "ts": line["InvoiceDate"],
            }


def topic(line):
    return TOPICS[line["invoice"].startswith("C")]


def event(line):
    # The price as the number that it is in the file: 1.85, not a text and not a double.
    marked = json.dumps({**line, "unit_price": "@"})
    return marked.replace('"@"', line["unit_price"])


def expected():
    """View -> rows."""
    revenue, customers = defaultdict(Decimal), defaultdict(set)
    units, counts = defaultdict(int), defaultdict(int)
    day_all, day_bad = defaultdict(set), defaultdict(set)
    month = defaultdict(lambda: [0, Decimal(0)])
    by_customer = defaultdict(lambda: [set(), Decimal(0)])
    for line in lines():
        amount = line["quantity"] * Decimal(line["unit_price"])
        revenue[line["country"]] += amount
        customers[line["country"]] |= {line["customer_id"]} - {None}
        units[line["sku"]] += line["quantity"]
        counts[line["sku"]] += 1
        day_all[line["ts"][:10]].add(line["invoice"])
        if topic(line) == "cancelled_lines":
            day_bad[line["ts"][:10]].add(line["invoice"])
        else:
            entry = month[line["ts"][:7], line["sku"]]
            entry[0] += line["quantity"]
            entry[1] += amount
        if line["customer_id"] is not None:
            entry = by_customer[line["customer_id"]]
            entry[0].add(line["invoice"])
            entry[1] += amount
    top = defaultdict(list)
    for (when, sku), (sold, earned) in month.items():
        top[when].append((-earned, sku, sold))
    best = [
        (when, place, sku, sold, -earned)
        for when, rows in top.items()
        for place, (earned, sku, sold) in enumerate(sorted(rows)[:5], 1)
    ]
    ranked = sorted((-earned, customer, len(invoices)) for customer, (invoices, earned) in by_customer.items())[:100]
    return {
        "SELECT country, revenue, customers FROM revenue_per_country": [(c, revenue[c], len(customers[c])) for c in revenue],
        "SELECT sku, units, order_lines FROM units_per_sku": [(s, units[s], counts[s]) for s in units],
        "SELECT CAST(sales_day AS VARCHAR), invoices, cancellations FROM cancellation_rate_per_day": [
            (day, len(day_all[day]), len(day_bad[day])) for day in day_all
        ],
        "SELECT sales_month, place, sku, units, revenue FROM top_sellers_per_month": best,
        "SELECT place, customer_id, invoices, revenue FROM customer_ranking": [
            (place, customer, invoices, -earned) for place, (earned, customer, invoices) in enumerate(ranked, 1)
        ],
    }
