"""Two tables of the kind that courses use: hourly rentals of bicycles, and calls of a bank's campaign.

The rows are drawn by a rule, with the columns, categories and ranges of the UCI tables "Bike Sharing" (Fanaee-T and
Gama, 2013) and "Bank Marketing" (Moro, Cortez and Rita, 2014).
"""

import math
import random

BIKE = {
    "label": "count",
    "columns": {
        "season": ["spring", "summer", "autumn", "winter"], "weather": ["clear", "mist", "light rain", "heavy rain"],
        "working_day": ["no", "yes"], "hour": "number", "temperature": "number", "humidity": "number", "wind": "number",
    },
}  # fmt: skip
BANK = {
    "label": "subscribed",
    "columns": {
        "age": "number", "campaign": "number", "days_since_contact": "number",
        "job": ["admin", "blue-collar", "management", "retired", "services", "student", "technician"],
        "marital": ["divorced", "married", "single"], "housing": ["no", "yes"], "contact": ["cellular", "telephone"],
        "last_outcome": ["failure", "nonexistent", "success"],
    },
}  # fmt: skip


def rentals(count, seed=0):
    """Rows of the first table."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        season = draw.choice(BIKE["columns"]["season"])
        row = {
            "season": season, "weather": draw.choices(BIKE["columns"]["weather"], [66, 26, 7, 1])[0],
            "working_day": draw.choices(["no", "yes"], [32, 68])[0], "hour": draw.randrange(24),
            "temperature": round(draw.gauss({"spring": 12, "summer": 23, "autumn": 27, "winter": 17}[season], 5), 1),
            "humidity": round(min(100, max(20, draw.gauss(62, 19)))), "wind": round(abs(draw.gauss(12, 8)), 1),
        }  # fmt: skip
        rush = math.exp(-((row["hour"] - 8) ** 2) / 3) + math.exp(-((row["hour"] - 17.5) ** 2) / 5)
        leisure = math.exp(-((row["hour"] - 14) ** 2) / 20)
        shape = (rush if row["working_day"] == "yes" else leisure) + 0.1
        sky = {"clear": 1.0, "mist": 0.9, "light rain": 0.5, "heavy rain": 0.3}[row["weather"]]
        warmth = max(0.1, 1 - abs(row["temperature"] - 25) / 40)
        row["count"] = max(0, round(400 * shape * sky * warmth * (1.2 - row["humidity"] / 200) + draw.gauss(0, 12)))
        found.append(row)
    return found


def calls(count, seed=0):
    """Rows of the second table."""
    draw = random.Random(seed)
    kinds = BANK["columns"]
    found = []
    for _ in range(count):
        row = {
            "age": round(min(95, max(18, draw.gauss(40, 11)))), "campaign": min(20, 1 + int(draw.expovariate(0.6))),
            "days_since_contact": 999 if draw.random() < 0.9 else draw.randrange(1, 20), "job": draw.choice(kinds["job"]),
            "marital": draw.choices(kinds["marital"], [11, 61, 28])[0], "housing": draw.choice(kinds["housing"]),
            "contact": draw.choices(kinds["contact"], [63, 37])[0],
            "last_outcome": draw.choices(kinds["last_outcome"], [10, 85, 5])[0],
        }  # fmt: skip
        odds = -2.2 - 0.25 * row["campaign"] + 3.0 * (row["last_outcome"] == "success")
        odds += 1.2 * (row["job"] in ("retired", "student")) + 0.8 * (row["contact"] == "cellular")
        odds += 1.5 * (row["days_since_contact"] < 999)
        row["subscribed"] = int(draw.random() < 1 / (1 + math.exp(-odds)))
        found.append(row)
    return found
