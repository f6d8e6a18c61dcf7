"""How much room there is for the database, as far as we can know it. Nothing here writes.

SQLite's file lies on a disk of this machine. PostgreSQL's server tells a client the size of its database, but not the
room on its disk: a full one is seen as `not_ready`, and the server's own monitoring sees it before.
"""

import shutil
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.queries.conditions import Disk


def disk(session: Session) -> Disk:
    """The room of this moment. Raises SQLAlchemyError."""
    bind = session.get_bind()
    if bind.dialect.name == "postgresql":
        return Disk(database=session.scalar(sa.text("SELECT pg_database_size(current_database())")) or 0)
    pages, size = (session.scalar(sa.text(f"PRAGMA {name}")) or 0 for name in ("page_count", "page_size"))
    usage = shutil.disk_usage(Path(bind.engine.url.database or ".").absolute().parent)
    return Disk(database=pages * size, free=usage.free, total=usage.total)
