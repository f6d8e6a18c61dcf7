"""Sessions end when their user's generation moves on; refused sign-ins are counted per name and per address."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("generation", sa.Integer(), server_default="0", nullable=False))
    op.create_table(
        "sign_in_failures",
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("source"),
    )
    op.create_index("ix_sign_in_failures_ends", "sign_in_failures", ["ends_at"], unique=False)


def downgrade() -> None:
    op.drop_table("sign_in_failures")
    op.drop_column("users", "generation")
