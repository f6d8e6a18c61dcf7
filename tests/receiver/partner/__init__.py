"""A partner's package for the engine's own tests: `PARTNER_PACKAGE=tests.receiver.partner`.

It looks like `app/` and shares nothing with it. Its names begin with `probe`, so that a fork's tables and classes can
live beside them in one process. Its migrations are in tests/receiver/migrations.
"""
