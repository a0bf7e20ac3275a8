"""Any program: JSON over HTTP, no AWS credentials."""

from pathlib import Path

import requests
import tables

base = Path("api.txt").read_text()
row = {
    "season": "summer",
    "weather": "clear",
    "working_day": "yes",
    "hour": 17,
    "temperature": 24,
    "humidity": 50,
    "wind": 8,
}
answer = requests.post(f"{base}/bike", json=row, timeout=30)
(busy,) = answer.json()["predictions"]
(quiet,) = requests.post(f"{base}/bike", json={**row, "hour": 3}, timeout=30).json()["predictions"]
print(f"requests: {busy:.0f} bicycles at five in the afternoon, {quiet:.0f} at three at night")
assert busy > 5 * max(quiet, 1)

wrong = requests.post(f"{base}/bike", json={**row, "weather": "frogs"}, timeout=30)
print("requests:", wrong.status_code, wrong.json()["message"])
customers = requests.post(f"{base}/bank", json=tables.calls(20, seed=3), timeout=30)
print("requests:", len(customers.json()["predictions"]), "customers at once")
