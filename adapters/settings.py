"""Settings: one class, read from the environment by the composition roots only.

Temporal is configured by its own standard `TEMPORAL_*` variables (temporalio.envconfig), not here.
"""

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from domain.errors import ConfigurationError


class Settings(BaseSettings):
    """What every process of Journeys is told from outside.

    Attributes:
        database_url: `postgresql://…`; one database for all stores.
        smtp_url: `smtp://[user:password@]host:port`, `smtps://…` for TLS from the start; `?starttls=1`
            requires STARTTLS.
        public_url: Where mail programs and browsers reach the API: the base of every link in a message.
        bounce_address: Where undeliverable mail comes back to (docs/bounces.md); None: to each store's sender.
        secret_keys: Comma-separated; sign link tokens. The first signs, all verify, so keys can be rotated.
        master_keys: Comma-separated; with them what Temporal keeps is encrypted (docs/privacy.md). The first wraps the
            customers' keys, all unwrap.
        temporal_ui_url: The origin of the Temporal UI whose pages may ask the codec server.
        task_queue: The Temporal task queue of the journeys.
        deployment: The name under which Temporal knows all builds of our worker (docs/deploying.md).
        build_id: The build that this worker is; without one it is unversioned.
        metrics_port: Where Prometheus reads this process's metrics (docs/operating.md); None: nowhere.
        metrics_host: The address to listen on for it.
        temporal_metrics_port: The same for the metrics of Temporal's SDK.
    """

    model_config = SettingsConfigDict(env_prefix="JOURNEYS_", extra="ignore", populate_by_name=True)

    database_url: str = Field(default="", validation_alias="DATABASE_URL")
    smtp_url: str = Field(default="", validation_alias="SMTP_URL")
    public_url: str = "http://127.0.0.1:8000"
    bounce_address: str | None = Field(default=None, pattern=r"^[^@+\s]{1,20}@[^@\s]+$")
    secret_keys: SecretStr = SecretStr("")
    master_keys: SecretStr | None = None
    temporal_ui_url: str | None = None
    task_queue: str = "journeys"
    deployment: str = Field(default="journeys", pattern=r"^[A-Za-z0-9_-]+$")
    build_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._+-]*$")
    log_level: str = "INFO"
    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8000, ge=1, le=65535)
    metrics_port: int | None = Field(default=None, ge=1, le=65535)
    metrics_host: str = "127.0.0.1"
    temporal_metrics_port: int | None = Field(default=None, ge=1, le=65535)

    @field_validator("metrics_port", "temporal_metrics_port", mode="before")
    @classmethod
    def _empty_is_unset(cls, port: object) -> object:
        return None if port == "" else port

    @field_validator("public_url", "temporal_ui_url")
    @classmethod
    def _no_slash(cls, url: str | None) -> str | None:
        return url and url.rstrip("/")

    @property
    def sqlalchemy_url(self) -> str:
        """The database URL with the driver that we use.

        Raises:
            ConfigurationError: `DATABASE_URL` is not set or is not a Postgres URL.
        """
        scheme, separator, rest = self.database_url.partition("://")
        if not separator or scheme.split("+")[0] not in ("postgresql", "postgres"):
            raise ConfigurationError("DATABASE_URL must be a postgresql:// URL")
        return f"postgresql+psycopg://{rest}"

    @property
    def psycopg_url(self) -> str:
        """The database URL as psycopg itself takes it (for LISTEN)."""
        return self.sqlalchemy_url.replace("postgresql+psycopg://", "postgresql://", 1)

    def signing_secrets(self) -> list[str]:
        """The secrets for link tokens, newest first.

        Raises:
            ConfigurationError: `JOURNEYS_SECRET_KEYS` is not set or too short.
        """
        secrets = [secret.strip() for secret in self.secret_keys.get_secret_value().split(",") if secret.strip()]
        if not secrets or any(len(secret) < 16 for secret in secrets):
            raise ConfigurationError("JOURNEYS_SECRET_KEYS must hold at least one secret of 16 or more characters")
        return secrets

    def master_secrets(self) -> list[str]:
        """The secrets of the master keys, newest first; none if nothing is to be encrypted.

        Raises:
            ConfigurationError: One of `JOURNEYS_MASTER_KEYS` is too short.
        """
        given = self.master_keys.get_secret_value() if self.master_keys is not None else ""
        secrets = [secret.strip() for secret in given.split(",") if secret.strip()]
        if any(len(secret) < 32 for secret in secrets):
            raise ConfigurationError(
                "each of JOURNEYS_MASTER_KEYS must have 32 or more characters: openssl rand -hex 32"
            )
        return secrets
