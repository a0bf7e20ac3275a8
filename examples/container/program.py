"""A training and a serving container in one file: it fits a line through the points of a channel, and predicts by it.

This is AWS's contract: SageMaker runs the image with `train` or `serve`, and everything else lies in files and variables.
"""

import csv
import json
import sys
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ML = Path("/opt/ml")


def train() -> None:
    """Read /opt/ml/input, write /opt/ml/model."""
    given = json.loads((ML / "input/config/hyperparameters.json").read_text())
    points = [
        (float(x), float(y)) for path in sorted((ML / "input/data/train").iterdir()) for x, y in csv.reader(path.open())
    ]
    slope = level = 0.0
    for epoch in range(int(given.get("epochs", "100"))):
        errors = [(slope * x + level - y, x) for x, y in points]
        slope -= 0.1 * sum(e * x for e, x in errors) / len(points)
        level -= 0.1 * sum(e for e, _ in errors) / len(points)
        print(f"epoch={epoch} mse={sum(e * e for e, _ in errors) / len(points):.6f};", flush=True)
    (ML / "model/line.json").write_text(json.dumps({"slope": slope, "level": level}))


class Handler(BaseHTTPRequestHandler):
    """/ping and /invocations."""

    protocol_version = "HTTP/1.1"
    line: dict[str, float]

    def answer(self, status: int, body: bytes) -> None:
        """One answer."""
        self.send_response(status)
        self.send_header("Content-Type", "text/csv")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        """Whether we are well."""
        self.answer(200 if self.path == "/ping" else 404, b"")

    def do_POST(self) -> None:
        """A prediction for each line."""
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        try:
            rows = [self.line["slope"] * float(x) + self.line["level"] for x in text.split()]
        except ValueError as error:
            self.answer(400, str(error).encode())
        else:
            self.answer(200, "\n".join(f"{y:.3f}" for y in rows).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""


def serve() -> None:
    """Answer on port 8080."""
    Handler.line = json.loads((ML / "model/line.json").read_text())
    ThreadingHTTPServer(("", 8080), Handler).serve_forever()


if __name__ == "__main__":
    try:
        {"train": train, "serve": serve}[sys.argv[1]]()
    except Exception as error:
        (ML / "output/failure").write_text(f"{error!r}\n{traceback.format_exc()}")
        raise
