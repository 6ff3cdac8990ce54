"""What an outside user has: dev.json and proto/. Stubs are compiled from proto/ at start; nothing of the product is imported."""

import importlib
import json
import pathlib
import ssl
import sys
import tempfile
import urllib.error
import urllib.request

import grpc
from grpc_tools import protoc

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"


def compile_stubs():
    """Compiles proto/ into a temporary directory and makes it importable."""
    out = tempfile.mkdtemp(prefix="strongroom-stubs-")
    files = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    include = importlib.resources.files("grpc_tools") / "_proto"
    code = protoc.main(
        ["protoc", f"-I{PROTO}", f"-I{include}", f"--python_out={out}", f"--grpc_python_out={out}", *files]
    )
    assert code == 0, "protoc failed"
    sys.path.insert(0, out)


class Dev:
    """A running `strongroom dev`."""

    def __init__(self, path):
        self.json = json.loads(pathlib.Path(path).read_text())
        self.tls = ssl.create_default_context(cafile=self.json["public_ca"])

    def channel(self, caller):
        """A gRPC channel with the certificate of this caller; None: no certificate."""
        target = self.json["grpc"]
        root = pathlib.Path(target["ca"]).read_bytes()
        if caller is None:
            credentials = grpc.ssl_channel_credentials(root)
        else:
            files = self.json["callers"][caller]
            credentials = grpc.ssl_channel_credentials(
                root, pathlib.Path(files["key"]).read_bytes(), pathlib.Path(files["cert"]).read_bytes()
            )
        options = [("grpc.ssl_target_name_override", target["server_name"])]
        return grpc.secure_channel(target["address"], credentials, options)

    def control(self, method, path, body=None):
        """A call of the sandbox's control API."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.json["sandbox"]["control"] + path, data=data, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
            return json.loads(text) if text else None

    def token_calls(self):
        """How often the sandbox saw /oauth2/token."""
        return len(self.control("GET", "/calls?path=/v2/oauth2/token")["calls"])

    def calls(self, path):
        """The calls of this path that the sandbox saw, oldest first."""
        return self.control("GET", f"/calls?path=/v2{path}")["calls"]

    def merchants_calls(self):
        """How many calls the sandbox saw, those with the app owner's own token apart."""
        owner = self.control("GET", "/app")["owner_user_id"]
        return sum(call["user_id"] != owner for call in self.control("GET", "/calls")["calls"])

    def provider_user(self, token):
        """What the provider says to this token: (status, body)."""
        return self.provider("/user", token)

    def provider(self, call, token, **parameters):
        """A call to the provider with this token: (status, body)."""
        data = json.dumps(parameters).encode()
        request = urllib.request.Request(self.json["sandbox"]["api"] + call, data=data, method="POST")
        request.add_header("Content-Type", "application/json")
        request.add_header("Authorization", f"Bearer {token}")
        request.add_header("User-Agent", "journey")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as refused:
            return refused.code, json.loads(refused.read())
