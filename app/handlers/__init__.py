"""Your handlers: what you do about an event. Write one decorated function per event type; see policies.py.

docs/handlers.md has all the rules.
"""
