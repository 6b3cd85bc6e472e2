"""Writes the sample data/home/shop/shop.db: a SQLite database with customers and a year of their orders.

The same Python gives the same rows.
"""

import random
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

PATH = Path(__file__).parent / "home" / "shop" / "shop.db"
CUSTOMERS, ORDERS = 40, 600
BEGIN = datetime(2025, 1, 1)
NAMES = ["Åse", "Bo", "Clara", "David", "Élodie", "Freja", "Göran", "Hanne", "Ibrahim", "Jónas"]


def main() -> None:
    rng = random.Random("shop")
    PATH.parent.mkdir(parents=True, exist_ok=True)
    PATH.unlink(missing_ok=True)
    with sqlite3.connect(PATH) as shop:
        shop.execute("PRAGMA page_size = 1024")
        shop.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, since DATE)")
        shop.execute(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER NOT NULL, total DECIMAL(10,2) NOT NULL, "
            "paid BOOLEAN NOT NULL, created_at DATETIME NOT NULL, note TEXT)"
        )
        for number in range(1, CUSTOMERS + 1):
            since = None if number % 7 == 0 else (BEGIN - timedelta(days=rng.randrange(2000))).date().isoformat()
            shop.execute("INSERT INTO customers VALUES (?, ?, ?)", (number, f"{rng.choice(NAMES)} {number}", since))
        moment = BEGIN
        for number in range(1, ORDERS + 1):
            moment += timedelta(seconds=rng.randrange(1, 2 * 365 * 86_400 // ORDERS - 60))
            note = rng.choice([None, "a gift", "ring twice", "it's fragile"])
            row = (number, rng.randint(1, CUSTOMERS), rng.randrange(100, 50_000) / 100, rng.random() < 0.9, f"{moment:%Y-%m-%d %H:%M:%S}", note)
            shop.execute("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?)", row)
        shop.execute("CREATE INDEX orders_created_at ON orders (created_at)")


main()
