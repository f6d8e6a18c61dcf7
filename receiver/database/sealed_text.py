"""`SealedText`: a column of a partner's table that keeps personal data encrypted, such as a name (§9.3).

The database and the parameters of statements hold ciphertext alone. A ciphertext opens for its table, its column and
the primary key of its row: a copy of it elsewhere does not open. A type of column knows nothing of the row. So the
mapper's events seal a text before a row is written and open it after a row was read, and `advance()` seals what it
writes. The keys are those of the inbox whose engine is used.

A text that can't be opened takes nothing else with it: CannotUnseal is raised when somebody reads that attribute.
`_Unreadable` stands in its place until then.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple, cast
from uuid import UUID, uuid5

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect, Engine
from sqlalchemy.orm import InstanceState, Mapper
from sqlalchemy.orm.attributes import InstrumentedAttribute, flag_modified

from receiver.database.columns import Base
from receiver.privacy.sealing import CannotUnseal, SealingKey, seal, sealing_key_id, unseal

_KEYS = "sealing_keys"
_NAMES = UUID("5ea1ed7e-0000-4000-8000-000000000001")
_KEY_WANTED = "a table with SealedText needs a primary key of texts, whole numbers or UUIDs"
_TO_COME = b""
"""What stands in a row that gets its key from the database, until the key is known."""


def give_keys(engine: Engine, keys: Sequence[SealingKey]) -> None:
    """Let what runs on this engine seal and open texts with these keys, newest first."""
    engine.update_execution_options(**{_KEYS: tuple(keys)})


class _Kept(bytes):
    """A ciphertext as it was read."""

    def __repr__(self) -> str:
        return "[sealed]"

    __str__ = __repr__


class _Bound(str):
    """A text on its way into a statement, with its ciphertext. It shows nothing: parameters are printed by `repr()`."""

    sealed: bytes

    def __new__(cls, text: str, sealed: bytes) -> "_Bound":
        """The text with its ciphertext."""
        bound = super().__new__(cls, text)
        bound.sealed = sealed
        return bound

    def __repr__(self) -> str:
        return "[sealed]"


class _Unreadable(NamedTuple):
    """What a row holds instead of a text that does not open."""

    reason: str


class _ReadAttribute(InstrumentedAttribute[Any]):
    """The attribute of a model. SQLAlchemy knows no event for the moment in which one is read."""

    __slots__ = ()
    inherit_cache = True

    def __get__(self, instance: object, owner: Any) -> Any:
        """The text, or the attribute itself of the class. Raises CannotUnseal."""
        value = super().__get__(instance, owner)
        if isinstance(value, _Unreadable):
            raise CannotUnseal(value.reason)
        return value


class _SqliteBytes(sa.LargeBinary):
    """SQLite keeps a value of any type in any column. What is no bytes reads as none: such a ciphertext never opens."""

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """Reads a column's value."""
        return lambda value: value if value is None or isinstance(value, bytes) else b""


class SealedText(sa.types.TypeDecorator[str]):
    """A text that the database keeps encrypted, such as a name. Your code reads and writes plain text.

        insured: Mapped[str | None] = mapped_column(SealedText)

    Set it on a row of your model or by `advance()`. Load the row to read it. SQL can't compare or sort what it holds,
    but `is_(None)` works. The table's key must be text, a whole number or a UUID. Reading raises CannotUnseal with a
    reason: `unknown_key`, or `tampered` when the ciphertext is of another row.

    Do you rename the column or its table? Then say what it was: `SealedText(bound_to="policy_terms.insured")`.
    """

    impl = sa.LargeBinary
    cache_ok = True

    def __init__(self, bound_to: str | None = None) -> None:
        super().__init__()
        self.bound_to = bound_to

    def load_dialect_impl(self, dialect: Dialect) -> sa.types.TypeEngine[Any]:
        """What keeps it."""
        return _SqliteBytes() if dialect.name == "sqlite" else super().load_dialect_impl(dialect)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        if value is None:
            return None
        if not isinstance(value, _Bound):
            raise TypeError("SealedText is set on a row of its model or by advance(), and SQL can't compare it")
        return value.sealed

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Any:
        return None if value is None else _Kept(value)


def is_sealed(column: "sa.Column[Any]") -> bool:
    """Whether it is a column of SealedText, and no expression over one."""
    return isinstance(column, sa.Column) and isinstance(column.type, SealedText)


@cache
def sealed_columns(table: sa.Table) -> tuple["sa.Column[str]", ...]:
    """The columns of SealedText."""
    return tuple(filter(is_sealed, table.columns))


def sealed_values(connection: Connection, table: sa.Table, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of one row by column, for a statement: texts are sealed. The primary key must be among them."""
    texts = {column.key: column for column in sealed_columns(table) if values.get(column.key) is not None}
    key = [values.get(part.key) for part in table.primary_key] if texts else []
    sealed = {name: _seal(values[name], _row(column, key), connection) for name, column in texts.items()}
    return {**values, **sealed}


class SealedRows(NamedTuple):
    """A table's ciphertexts and keys, for who seals them anew."""

    table: sa.Table

    def page(self, after: Sequence[Any] | None, size: int) -> "sa.Select[Any]":
        """The next rows: the primary key, then the ciphertexts. `after` is the primary key of the last one."""
        key = tuple(self.table.primary_key)
        statement = sa.select(*key, *sealed_columns(self.table)).order_by(*key).limit(size)
        if after is None:
            return statement
        last = (sa.literal(value, part.type) for part, value in zip(key, after, strict=True))
        return statement.where(sa.tuple_(*key) > sa.tuple_(*last))

    def key_of(self, row: Sequence[Any]) -> tuple[Any, ...]:
        """The primary key of a row of a page."""
        return tuple(row[: len(self.table.primary_key)])

    def ciphertexts(self, row: Sequence[Any]) -> Iterator[tuple["sa.Column[str]", bytes]]:
        """What a row of a page keeps, by column."""
        found = zip(sealed_columns(self.table), row[len(self.table.primary_key) :], strict=True)
        return ((column, kept) for column, kept in found if kept is not None)

    def resealed(
        self, column: "sa.Column[str]", key: Sequence[Any], kept: bytes, keys: Sequence[SealingKey]
    ) -> "sa.Update | None":
        """The change that seals it with the newest key, unless another has changed it. None if it is so already.

        Raises CannotUnseal.
        """
        if sealing_key_id(kept) == keys[0].id:
            return None
        row = _row(column, key)
        anew = _Bound("", seal(unseal(kept, row=row, keys=keys), row=row, keys=keys))
        is_as_read = sa.type_coerce(column, sa.LargeBinary) == bytes(kept)
        return sa.update(self.table).where(_has_key(self.table, key), is_as_read).values({column: anew})


def sealed_tables() -> list[SealedRows]:
    """The partner's tables that have such columns."""
    return [SealedRows(table) for table in Base.metadata.sorted_tables if sealed_columns(table)]


class _Texts(NamedTuple):
    """The attributes of a model that are SealedText, with their columns, and the events that seal and open them."""

    columns: dict[str, "sa.Column[str]"]

    def before_insert(self, mapper: Mapper[Any], connection: Connection, target: object) -> None:
        """Seal what is set. A row whose key the database makes gets its ciphertexts when the key is known."""
        values = _state(target).dict
        for name, text in self._set(values):
            column = self.columns[name]
            key = _key(mapper, column, values)
            row = None if None in key else _row(column, key)
            values[name] = _Bound(_checked(text), _TO_COME) if row is None else _seal(text, row, connection)

    def before_update(self, mapper: Mapper[Any], connection: Connection, target: object) -> None:
        """Seal what is changed, and everything when the row gets another key."""
        state = _state(target)
        stored = _identity(mapper, state)
        for name, column in self.columns.items():
            key = _key(mapper, column, {**stored, **state.dict})
            if key != _key(mapper, column, stored) and getattr(target, name) is not None:
                flag_modified(target, name)
            if state.dict.get(name) is not None and state.attrs[name].history.has_changes():
                state.dict[name] = _seal(state.dict[name], _row(column, key), connection)

    def after_write(self, mapper: Mapper[Any], connection: Connection, target: object) -> None:
        """What the row holds in memory is plain text again."""
        values = _state(target).dict
        for name, text in self._set(values):
            if isinstance(text, _Bound):
                values[name] = str(text)
                if text.sealed == _TO_COME:
                    _fill_in(connection, self.columns[name], _key(mapper, self.columns[name], values), str(text))

    def after_read(self, mapper: Mapper[Any], target: object, context: Any, _names: object = None) -> None:
        """Open what was read. What doesn't open raises when somebody asks for it, and not before."""
        state = _state(target)
        for name, kept in self._set(state.dict):
            if isinstance(kept, _Kept):
                keys = _keys(context.session.get_bind(mapper))
                row = _row(self.columns[name], _key(mapper, self.columns[name], _identity(mapper, state)))
                try:
                    state.dict[name] = _decoded(unseal(kept, row=row, keys=keys))
                except CannotUnseal as error:
                    state.dict[name] = _Unreadable(error.reason)

    def _set(self, values: Mapping[str, Any]) -> list[tuple[str, Any]]:
        return [(name, values[name]) for name in self.columns if values.get(name) is not None]


def _watch(mapper: Mapper[Any], model: type) -> None:
    """Seal and open the texts of a model. Raises ArgumentError for a table that can't have any."""
    columns = {name: column for name, column in mapper.columns.items() if is_sealed(column)}
    if not columns:
        return
    for name, column in columns.items():
        key = column.table.primary_key
        if not key or not all(map(_is_one_text, key)) or not {*_names(mapper, column)} <= {*_names(mapper)}:
            raise sa.exc.ArgumentError(f"{model.__name__}.{name}: {_KEY_WANTED}")
        getattr(model, name).__class__ = _ReadAttribute
    texts = _Texts(columns)
    sa.event.listen(model, "before_insert", texts.before_insert)
    sa.event.listen(model, "before_update", texts.before_update)
    sa.event.listen(model, "after_insert", texts.after_write)
    sa.event.listen(model, "after_update", texts.after_write)
    sa.event.listen(model, "load", partial(texts.after_read, mapper))
    sa.event.listen(model, "refresh", partial(texts.after_read, mapper))


sa.event.listen(Base, "after_mapper_constructed", _watch, propagate=True)


def _seal(text: object, row: UUID, connection: Connection) -> _Bound:
    plain, keys = _checked(text), _keys(connection)
    if not keys:
        raise TypeError("this engine has no keys for SealedText: use a session of the receiver's")
    return _Bound(plain, seal(plain.encode(errors="surrogatepass"), row=row, keys=keys))


def _decoded(text: bytes) -> str:
    return text.decode(errors="surrogatepass")


def _checked(text: object) -> str:
    if isinstance(text, _Unreadable):
        raise CannotUnseal(text.reason)
    if not isinstance(text, str):
        raise TypeError(f"SealedText is text, not {type(text).__name__}")
    return text


def _keys(bind: Connection | Engine) -> Sequence[SealingKey]:
    return cast(Sequence[SealingKey], bind.get_execution_options().get(_KEYS, ()))


def _row(column: "sa.Column[str]", key: Sequence[Any]) -> UUID:
    """What a ciphertext is bound to."""
    place = cast(SealedText, column.type).bound_to or f"{column.table.fullname}.{column.name}"
    return uuid5(_NAMES, json.dumps([place, *map(str, key)]))


def _is_one_text(part: "sa.Column[Any]") -> bool:
    """Whether a part of a primary key has one form as text: a moment has one for each time zone.

    A foreign key may have no type yet.
    """
    kind = part.type
    return isinstance(kind, sa.types.NullType) or (kind.python_type in (str, int, UUID) and not is_sealed(part))


def _names(mapper: Mapper[Any], column: "sa.Column[str] | None" = None) -> list[str]:
    """The attributes of the model that hold the primary key: that of the column's table, or that of the model."""
    parts = mapper.primary_key if column is None else column.table.primary_key
    return [mapper.get_property_by_column(part).key for part in parts]


def _key(mapper: Mapper[Any], column: "sa.Column[str]", values: Mapping[str, Any]) -> list[Any]:
    """The primary key of the column's row, of these values of attributes."""
    return [values.get(name) for name in _names(mapper, column)]


def _identity(mapper: Mapper[Any], state: InstanceState[Any]) -> dict[str, Any]:
    """The primary key under which the database has the row, by attribute."""
    return dict(zip(_names(mapper), state.identity or (), strict=True))


def _state(target: object) -> InstanceState[Any]:
    return cast(InstanceState[Any], sa.inspect(target))


def _has_key(table: sa.Table, key: Sequence[Any]) -> "sa.ColumnElement[bool]":
    return sa.and_(*(part == value for part, value in zip(table.primary_key, key, strict=True)))


def _fill_in(connection: Connection, column: "sa.Column[str]", key: Sequence[Any], text: str) -> None:
    table = column.table
    sealed = _seal(text, _row(column, key), connection)
    connection.execute(sa.update(table).where(_has_key(table, key)).values({column: sealed}))
