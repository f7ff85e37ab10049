"""Evidence and confirmation in the consent ledger, which from now on only grows.

Revision: 0012, after 0011.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_APPEND_ONLY = """
create function consents_only_grow() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' and current_setting('journeys.erasure', true) = 'on' then
        return old;
    end if;
    -- two identities turned out to be one person
    if tg_op = 'UPDATE' and to_jsonb(new) - 'customer_id' = to_jsonb(old) - 'customer_id' then
        return new;
    end if;
    raise exception 'consents is append-only: add a line that says otherwise'
        using errcode = 'restrict_violation', hint = 'Only the erasure of a customer deletes lines.';
end
$$
"""


def upgrade() -> None:
    for name in ("user_agent", "wording", "confirmation", "address"):
        op.add_column("consents", sa.Column(name, sa.Text()))
    op.create_check_constraint(op.f("ck_consents_confirmation"), "consents", "confirmation in ('awaited', 'given')")
    op.execute(_APPEND_ONLY)
    op.execute(
        "create trigger consents_only_grow before update or delete on consents "
        "for each row execute function consents_only_grow()"
    )
    op.execute(
        "create trigger consents_stay before truncate on consents "
        "for each statement execute function consents_only_grow()"
    )
