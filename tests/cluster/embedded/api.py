"""A small synchronous client of the API server: plain dicts over kept connections, credentials from a kubeconfig.

Standard library only, because the cluster's own command uses it to know when the cluster is ready; fast, because the
tests' fixtures ask it many times a second.
"""

import base64
import http.client
import json
import os
import ssl
import tempfile
import threading
import urllib.parse
from typing import Any

from .errors import ApiError, ClusterError

Object = dict[str, Any]

MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


class Api:
    """Requests to one API server; a connection for each thread."""

    def __init__(self, kubeconfig: str, timeout: float = 30.0) -> None:
        """Read server, authority and client certificate from a kubeconfig that `cluster up` wrote (JSON)."""
        with open(kubeconfig, encoding="utf-8") as file:
            content = json.load(file)
        cluster = content["clusters"][0]["cluster"]
        user = content["users"][0]["user"]
        server = urllib.parse.urlsplit(cluster["server"])
        if server.hostname is None or server.port is None:
            raise ClusterError(f"{kubeconfig}: no host and port in {cluster['server']!r}")
        self._host, self._port, self._timeout = server.hostname, server.port, timeout
        self._context = ssl.create_default_context(
            cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
        )
        # The ssl module loads a client's key from files only.
        with tempfile.NamedTemporaryFile(suffix=".pem") as pair:
            pair.write(base64.b64decode(user["client-certificate-data"]))
            pair.write(base64.b64decode(user["client-key-data"]))
            pair.flush()
            self._context.load_cert_chain(pair.name)
        self._local = threading.local()
        self._open: list[http.client.HTTPSConnection] = []

    def get(self, path: str, **query: str) -> Object:
        """One object or one list, as in `get("/api/v1/nodes")`."""
        return self.request("GET", path, query=query)

    def items(self, path: str, **query: str) -> list[Object]:
        """The objects of a list, each with the kind and apiVersion that lists leave out."""
        answer = self.get(path, **query)
        kind, version = str(answer["kind"]).removesuffix("List"), answer["apiVersion"]
        return [{"apiVersion": version, "kind": kind, **item} for item in answer["items"]]

    def find(self, path: str) -> Object | None:
        """One object, or None if there is none."""
        try:
            return self.get(path)
        except ApiError as error:
            if error.code == http.HTTPStatus.NOT_FOUND:
                return None
            raise

    def create(self, path: str, body: Object) -> Object:
        """POST an object to its collection."""
        return self.request("POST", path, body)

    def patch(self, path: str, body: Object, content_type: str = MERGE_PATCH, **query: str) -> Object:
        """PATCH an object or a subresource of it; a merge patch unless said otherwise."""
        return self.request("PATCH", path, body, content_type, query)

    def apply(self, path: str, body: Object, field_manager: str = "tests") -> Object:
        """Server-side apply, taking over fields of others."""
        return self.patch(path, body, APPLY_PATCH, fieldManager=field_manager, force="true")

    def delete(self, path: str, propagation: str = "Background") -> None:
        """DELETE an object or a collection; one that is absent already is fine."""
        try:
            self.request("DELETE", path, {"propagationPolicy": propagation})
        except ApiError as error:
            if error.code != http.HTTPStatus.NOT_FOUND:
                raise

    def request(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        content_type: str = "application/json",
        query: dict[str, str] | None = None,
    ) -> Object:
        """One request. ApiError for an answer of 400 and above, ClusterError where there is no answer."""
        status, payload = self.raw(method, path, body, content_type, query)
        try:
            answer = json.loads(payload)
        except ValueError:
            answer = {"message": payload.decode(errors="replace").strip()}
        if status >= http.HTTPStatus.BAD_REQUEST:
            raise ApiError(status, answer.get("reason", ""), answer.get("message", ""))
        return dict(answer)

    def raw(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        content_type: str = "application/json",
        query: dict[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Status and body of the answer, unread; for logs and probes."""
        target = path + ("?" + urllib.parse.urlencode(query) if query else "")
        payload = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json", "Content-Type": content_type}
        connection, kept = self._connection()
        try:
            try:
                return self._exchange(connection, method, target, payload, headers)
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
                if not kept:
                    raise
                # The server closed a connection that was idle (it was restarted, say) before it saw this request.
                connection, _ = self._connection()
                return self._exchange(connection, method, target, payload, headers)
        except (OSError, http.client.HTTPException) as error:
            raise ClusterError(
                f"{method} {target}: no answer from the API server: {error or type(error).__name__}"
            ) from error

    def close(self) -> None:
        """Close the connections of all threads; a later request makes a new one."""
        while self._open:
            self._open.pop().close()
        self._local = threading.local()

    def _connection(self) -> tuple[http.client.HTTPSConnection, bool]:
        """This thread's connection in this process, and whether it was used before."""
        kept: http.client.HTTPSConnection | None = getattr(self._local, "connection", None)
        if kept is not None and self._local.pid == os.getpid():
            return kept, True
        fresh = http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._context)
        self._local.connection, self._local.pid = fresh, os.getpid()
        self._open.append(fresh)
        return fresh, False

    def _exchange(
        self,
        connection: http.client.HTTPSConnection,
        method: str,
        target: str,
        payload: bytes | None,
        headers: dict[str, str],
    ) -> tuple[int, bytes]:
        try:
            connection.request(method, target, payload, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except BaseException:
            connection.close()
            self._open.remove(connection)
            self._local.connection = None  # half an exchange must not be read as the answer to the next one
            raise
