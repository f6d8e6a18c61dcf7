"""Receivers to measure ours by, each as good as its kind gets. All write to the tables of our migrations."""
