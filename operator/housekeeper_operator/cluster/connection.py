"""How to reach the API server: address, certificates and credentials, from the pod's service account or a kubeconfig.

The client library reads both, renews tokens and makes the TLS context. What it makes here is an aiohttp session, which
the port uses for its requests and the watches for theirs: one way in, with one set of credentials.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import aiohttp
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config.config_exception import ConfigException
from kubernetes.aio.config.incluster_config import load_incluster_config
from kubernetes.aio.config.kube_config import load_kube_config

USER_AGENT = "housekeeper-operator"


class NoCluster(Exception):
    """Neither a service account nor a usable kubeconfig was found. The text says what was looked for."""


class Connection:
    """Everything needed to open sessions with one API server. Safe to use from several event loops."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration

    @classmethod
    async def load(cls) -> Connection:
        """In a pod its service account, elsewhere the kubeconfig (KUBECONFIG or ~/.kube/config). Raises NoCluster."""
        configuration = Configuration()
        try:
            if os.environ.get("KUBERNETES_SERVICE_HOST"):
                # Neither of these has types in the client.
                load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
            else:
                await load_kube_config(  # type: ignore[no-untyped-call]
                    client_configuration=configuration, persist_config=False
                )
        except (ConfigException, OSError) as error:
            raise NoCluster(f"no way to reach a cluster: {error}") from error
        return cls(configuration)

    @property
    def server(self) -> str:
        """Base URL of the API server."""
        return str(self._configuration.host)

    def session(self, *, connections: int, trace_configs: Sequence[aiohttp.TraceConfig] = ()) -> aiohttp.ClientSession:
        """A new session for the running event loop, which adds the credentials of the moment to every request."""
        configuration = Configuration()
        for attribute in ("ssl_ca_cert", "ca_cert_data", "cert_file", "key_file", "verify_ssl"):
            setattr(configuration, attribute, getattr(self._configuration, attribute))
        configuration.disable_strict_ssl_verification = self._configuration.disable_strict_ssl_verification
        configuration.connection_pool_maxsize = connections
        configuration.trace_configs = list(trace_configs)
        configuration.client_session_kwargs = {
            "middlewares": (self._authorize,),
            "headers": {"User-Agent": USER_AGENT},
            "proxy": self._configuration.proxy,
            # Proxies of the environment are for the way out of a cluster, and looking them up (with ~/.netrc) for every
            # request takes a seventh of the processor time. A kubeconfig's own proxy-url is kept.
            "trust_env": False,
        }
        return _Sessions(configuration).open()

    async def _authorize(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        # Tokens of service accounts are renewed on disk; asking each time keeps long-lived sessions valid.
        token = await self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        if token:
            request.headers["Authorization"] = token
        return await handler(request)


class _Sessions(RESTClientObject):
    """The client library's own way to make a session: its TLS context, proxy and buffer sizes."""

    def open(self) -> aiohttp.ClientSession:
        session: aiohttp.ClientSession = self._create_pool_manager()
        return session
