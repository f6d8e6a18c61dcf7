"""A Flask view that says "accepted" and does nothing: no signature, no parsing, no database."""

from flask import Flask

app = Flask(__name__)


@app.post("/webhooks/senang")
def receive() -> dict[str, str]:
    """Forget the delivery."""
    return {"status": "accepted"}
