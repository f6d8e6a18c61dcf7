"""The process that sends alerts: a worker starts it (receiver/alerts/starting.py)."""

import sys

from receiver.alerts.starting import run

run(sys.stdin.read())
