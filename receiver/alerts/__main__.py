"""The process that sends alerts: a worker starts it (receiver/alerts/starting.py)."""

import sys

from receiver.alerts.starting import run

if __name__ == "__main__":
    run(sys.stdin.read())
