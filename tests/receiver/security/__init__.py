"""Attacks: what a stranger, a sender or a curious colleague may try, against the real receiver."""
