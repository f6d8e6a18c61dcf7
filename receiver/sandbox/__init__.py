"""A Senang.io to test against. It knocks at the front door like anyone."""
