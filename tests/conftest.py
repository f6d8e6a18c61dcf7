"""What all tests share: the fixtures of receiver/testing, and an environment that is the same on every machine."""

from tests import forget_the_shell, work_in_memory

pytest_plugins = ["receiver.testing"]

forget_the_shell()
work_in_memory()
