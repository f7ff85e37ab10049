"""The only code that touches the outside: Postgres, mail, templates, Temporal."""
