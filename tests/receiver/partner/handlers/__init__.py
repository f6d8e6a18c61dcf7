"""A handler for each published event type."""
