"""How many connections to PostgreSQL there are, how many there may be, and how many are ours.

Three limits hold at once: the role's, the database's and the server's. The one with the least room counts. A superuser
is bound by the server's alone. Ours are those with the name of our own connection.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.queries.conditions import Connections

_SESSIONS = """
WITH sessions AS (
    SELECT usename = session_user AS of_role, datname = current_database() AS of_database,
           application_name = current_setting('application_name') AS named_so
    FROM pg_stat_activity
    WHERE datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'
)
SELECT count(*) FILTER (WHERE of_role AND of_database AND named_so) AS ours,
       count(*) FILTER (WHERE of_role) AS of_role, count(*) FILTER (WHERE of_database) AS of_database,
       count(*) AS of_server, role.rolconnlimit, role.rolsuper, database.datconnlimit,
       current_setting('max_connections')::int - CASE WHEN role.rolsuper THEN 0 ELSE
           current_setting('superuser_reserved_connections')::int
           + coalesce(current_setting('reserved_connections', true), '0')::int END AS most
FROM pg_roles AS role JOIN pg_database AS database ON database.datname = current_database()
    LEFT JOIN sessions ON true
WHERE role.rolname = session_user
GROUP BY role.rolconnlimit, role.rolsuper, database.datconnlimit
"""


def connections(session: Session) -> Connections:
    """The connections of this moment, on PostgreSQL. Behind a pooler the figures would be those of the pooler."""
    found = session.execute(sa.text(_SESSIONS)).one()
    return min(_limits(found), key=lambda limit: limit.most - limit.used)


def _limits(found: Any) -> list[Connections]:
    limits = [Connections(found.ours, found.of_server, found.most, "server")]
    if not found.rolsuper and found.datconnlimit >= 0:
        limits.append(Connections(found.ours, found.of_database, found.datconnlimit, "database"))
    if not found.rolsuper and found.rolconnlimit >= 0:
        limits.append(Connections(found.ours, found.of_role, found.rolconnlimit, "role"))
    return limits
