"""Everything that is kept: one module per idea, SQLAlchemy Core on psycopg, parameterised SQL only."""
