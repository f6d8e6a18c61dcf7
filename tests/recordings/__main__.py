"""`make recordings`."""

from tests.recordings import record

record()
