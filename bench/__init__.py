"""Measures what the page asks, at sizes that no test has."""
