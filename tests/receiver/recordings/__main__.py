"""`make recordings`."""

from tests.receiver.recordings import record

record()
