"""Where Temporal is, and as whom we come, is said by its own environment alone (docs/kubernetes.md)."""

import os

import pytest
import trustme
from temporalio.service import TLSConfig

from adapters.temporal.client import connect


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment of a pod, with nothing of ours in it."""
    for name in [name for name in os.environ if name.startswith("TEMPORAL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TEMPORAL_ADDRESS", "eu-central-1.aws.api.temporal.io:7233")
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "journeys.a1b2c")
    return monkeypatch


async def test_an_api_key_is_sent_and_only_by_tls(cloud: pytest.MonkeyPatch) -> None:
    """Temporal Cloud: the key alone switches TLS on, so it never goes out in the open."""
    cloud.setenv("TEMPORAL_API_KEY", "a-key")
    client = await connect(lazy=True)
    config = client.service_client.config

    assert (config.target_host, client.namespace) == ("eu-central-1.aws.api.temporal.io:7233", "journeys.a1b2c")
    assert config.api_key == "a-key"
    assert config._to_bridge_config().tls_config is not None


async def test_a_client_certificate_comes_from_the_environment_too(cloud: pytest.MonkeyPatch) -> None:
    """MTLS: a Secret's certificate and key as they are, without a file."""
    pair = trustme.CA().issue_cert("journeys.example")
    certificate, key = pair.cert_chain_pems[0].bytes(), pair.private_key_pem.bytes()
    cloud.setenv("TEMPORAL_TLS_CLIENT_CERT_DATA", certificate.decode())
    cloud.setenv("TEMPORAL_TLS_CLIENT_KEY_DATA", key.decode())
    tls = (await connect(lazy=True)).service_client.config.tls

    assert isinstance(tls, TLSConfig)
    assert (tls.client_cert, tls.client_private_key) == (certificate, key)
