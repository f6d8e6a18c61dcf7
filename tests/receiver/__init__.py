"""The tests of the receiver itself. They know nothing of `app/`: see tests/receiver/partner."""
