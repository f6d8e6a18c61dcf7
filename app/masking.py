"""What people and logs may see of your payloads, beside what the receiver shows already.

A value is shown when its key is known, it looks like a code, a number, a date or a reference, and no key above it names
a party such as `customer`. docs/handlers.md says more. After a change, run `flask --app wsgi events remask`.
"""

SAFE_KEYS: set[str] = set()
"""Keys whose values may be shown, such as `{"installment_number"}`."""

CODE_WORDS: set[str] = set()
"""Words of your codes and statuses, such as `{"endorsed"}`."""

REFERENCE_PREFIXES: set[str] = set()
"""Prefixes of your reference numbers, such as `{"ab"}` for `AB-1234567`."""
