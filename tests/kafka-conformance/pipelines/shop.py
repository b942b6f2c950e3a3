"""Events for the topics of `sql/`, the same for every broker. Their times lie around the moment at which they are made, because some views look at the clock."""

import json
import random
from datetime import datetime, timedelta, timezone

SKUS = [f"SKU-{n:03}" for n in range(20)]
PLACES = ["LYON", "TURIN", "GENT"]
TOPICS = ["stock_movements", "clicks", "carts", "reservations", "orders", "payments", "prices"]


def _text(time):
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03}Z"


def events(seed, count=600):
    """(topic, key, JSON) in the order of their times, which are all different."""
    rng = random.Random(seed)
    now = datetime.now(timezone.utc)
    start = now - timedelta(minutes=4)
    made = []

    def add(topic, key, **fields):
        made.append((topic, key, fields))

    for n in range(count):
        sku, place = rng.choice(SKUS), rng.choice(PLACES)
        customer, session = rng.randrange(40), f"s{rng.randrange(60)}"
        card, device = f"card{rng.randrange(25)}", f"device{rng.randrange(15)}"
        country = rng.choice(["FR", "IT", "BE"])
        amount = rng.randrange(100, 40000) / 100
        quantity = rng.randrange(1, 6)
        add("stock_movements", sku, movement_id=n, sku=sku, warehouse=place, kind="receipt", quantity=rng.randrange(-3, 30))
        for _ in range(rng.randrange(1, 4)):
            add("clicks", session, session_id=session, customer_id=customer, page=rng.choice(["product", "home"]), sku=sku, device=device)
        if rng.random() < 0.5:
            add("carts", session, session_id=session, customer_id=customer, sku=sku, action="add", quantity=quantity)
        add("prices", sku, sku=sku, seller=rng.choice(["us", "them", "others"]), price=amount)
        if rng.random() < 0.5:
            reservation = f"r{n}"
            expires = _text(now + (timedelta(hours=1) if rng.random() < 0.5 else timedelta(hours=-1)))
            fields = dict(reservation_id=reservation, session_id=session, sku=sku, warehouse=place, quantity=quantity, expires_at=expires)
            add("reservations", reservation, **fields, status="active")
            order = dict(
                order_id=f"o{n}", customer_id=customer, session_id=session, reservation_id=reservation, sku=sku, warehouse=place,
                quantity=quantity, amount=amount, card=card, device=device, country=country,
            )
            add("orders", f"o{n}", **order, status="placed")
            payment = dict(order_id=f"o{n}", card=card, device=device, amount=amount, billing_country=rng.choice(["FR", country]))
            add("payments", f"o{n}", payment_id=f"p{n}", **payment, status=rng.choice(["authorized", "authorized", "declined"]))
            if rng.random() < 0.7:
                add("reservations", reservation, **fields, status="confirmed")
                add("orders", f"o{n}", **order, status="confirmed")
    span = now - start
    for idx, (topic, key, fields) in enumerate(made):
        yield topic, key, json.dumps({**fields, "ts": _text(start + span * idx / len(made))})


def marks(minutes=-4.5):
    """For each topic with event time an event that counts nowhere: before all others it begins, behind them it closes all windows."""
    ts = _text(datetime.now(timezone.utc) + timedelta(minutes=minutes))
    made = [
        ("stock_movements", {"movement_id": -1, "sku": "END", "warehouse": "END", "kind": "end", "quantity": 0}),
        ("clicks", {"session_id": "end", "page": "end"}),
        ("carts", {"session_id": "end", "action": "end"}),
        ("orders", {"order_id": "end", "status": "end"}),
        ("payments", {"payment_id": "end", "status": "refunded"}),
    ]
    return [(topic, "end", json.dumps({**fields, "ts": ts})) for topic, fields in made]
