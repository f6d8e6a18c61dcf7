"""Column types, and the bases of all tables: one for the receiver's, one for the partner's.

Moments are UTC going in and coming out. Money is exact. One value that somebody has spoilt takes no page and no batch
with it. To add a type of column, add it here; a migration writes it as what the database knows. `SealedText`, which has
to know its row, is in sealed_text.py.
"""

from datetime import UTC, datetime
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any, cast
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.sql import operators

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""A 64-bit key. SQLite only counts up a column that is declared INTEGER."""


class ReceiverBase(DeclarativeBase):
    """The base of the receiver's own tables. Their history is the branch `receiver` of migrations."""


class Base(DeclarativeBase):
    """The base of your own tables. Their history is the branch `partner` of migrations, in migrations/versions.

    `flask --app wsgi db migrate -m "what changed"` writes the next one. Table names may not be the receiver's.
    """


_MOMENT_LENGTH = len("0001-01-01 00:00:00.000000")


class _SqliteMoment(sqlite.DATETIME):
    """A moment as text. Years below 1000 were once written with fewer digits: such rows can still be read.

    What is no moment at all reads as the first of all moments, or one row that somebody has spoilt would take every
    page and every batch that it is part of.
    """

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """Reads a column's value."""

        read: Any = super().result_processor(dialect, coltype)

        def process(value: str | None) -> Any:
            try:
                return read(value.zfill(_MOMENT_LENGTH) if value and not value[:4].isdigit() else value)
            except ValueError:
                return datetime.min.replace(tzinfo=UTC)

        return process


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """A moment in UTC. SQLite gives naive values back; this gives them their zone, and refuses naive input."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> sa.types.TypeEngine[Any]:
        """What keeps it."""
        if dialect.name == "sqlite":
            return _SqliteMoment()  # type: ignore[no-untyped-call]  # SQLAlchemy does not type it
        return super().load_dialect_impl(dialect)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a time zone cannot be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


_DECIMALS, _DIGITS = 4, 18
_SMALLEST, _SEN = Decimal(10) ** -_DECIMALS, Decimal("0.01")
_FITS = Context(prec=_DIGITS, traps=[Inexact, InvalidOperation])
_WIDE = Context(prec=100)
"""For sums, which may have more digits than any amount."""


class Money(sa.types.TypeDecorator[Decimal]):
    """An amount of money, exact: up to 14 digits before the point and 4 behind it. A float is refused.

    PostgreSQL keeps a number. SQLite knows no exact fractions, so it keeps ten-thousandths as an integer. In SQL you
    may compare, add, subtract and sum, and take the least and the greatest. Multiply and divide in Python: in SQL that
    raises TypeError. Other functions, such as avg, abs and round, would see ten-thousandths on SQLite: use Python there
    too. A number beside an amount needs this type: `coalesce(amount, sa.literal(Decimal(5), Money))`.
    """

    impl = sa.Numeric(_DIGITS, _DECIMALS).with_variant(sa.BigInteger(), "sqlite")
    cache_ok = True

    class Comparator(sa.types.TypeDecorator.Comparator[Decimal]):
        """Refuses what would be another number on each database."""

        def operate(self, op: Any, *other: Any, **options: Any) -> Any:
            """The expression. Raises TypeError for a product or a quotient."""
            _refuse_product(op)
            return super().operate(op, *other, **options)

        def reverse_operate(self, op: Any, other: Any, **options: Any) -> Any:
            """The expression with the other side first. Raises TypeError for a product or a quotient."""
            _refuse_product(op)
            return super().reverse_operate(op, other, **options)

    comparator_factory = Comparator

    def process_bind_param(self, value: Decimal | int | None, dialect: Dialect) -> Decimal | int | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, Decimal | int):
            raise TypeError(f"money is a Decimal, not {type(value).__name__}")
        if not Decimal(value).is_finite():
            raise ValueError("money is a finite number")
        try:
            exact = Decimal(value).quantize(_SMALLEST, context=_FITS)
        except (Inexact, InvalidOperation):
            raise ValueError("money has up to 14 digits before the point and 4 behind it") from None
        return int(exact.scaleb(_DECIMALS, _WIDE)) if dialect.name == "sqlite" else exact

    def process_result_value(self, value: Decimal | int | None, dialect: Dialect) -> Decimal | None:
        if value is None:
            return None
        if dialect.name == "sqlite":
            value = Decimal(value).scaleb(-_DECIMALS, _WIDE) if isinstance(value, int) else Decimal("NaN")
        exact = Decimal(value)
        if not exact.is_finite():
            return exact
        in_sen = exact.quantize(_SEN, context=_WIDE)
        return in_sen if in_sen == exact else exact.normalize(_WIDE)


def _refuse_product(op: Any) -> None:
    if op in _PRODUCTS:
        raise TypeError("multiply and divide money in Python, not in SQL")


_PRODUCTS = {operators.mul, operators.truediv, operators.floordiv, operators.mod}


class _SqliteUuid(sa.Uuid[UUID]):
    """What is no UUID reads as the one of zeros: nothing is sealed for that, so the row alone is spoilt."""

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """Reads a column's value."""
        # SQLAlchemy does not type it.
        read: Any = super().result_processor(dialect, coltype)  # type: ignore[no-untyped-call]

        def process(value: Any) -> UUID | None:
            try:
                return cast(UUID | None, read(value))
            except (ValueError, TypeError, AttributeError):  # SQLite keeps a value of any type in any column
                return UUID(int=0)

        return process


class RowUuid(sa.types.TypeDecorator[UUID]):
    """A UUID. One row that somebody has spoilt takes no page and no batch that it is part of."""

    impl = sa.Uuid
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> sa.types.TypeEngine[Any]:
        """What keeps it."""
        return _SqliteUuid() if dialect.name == "sqlite" else super().load_dialect_impl(dialect)
