"""A caller that goes on while the servers behind it are restarted one after the other: it knows all their addresses, spreads its calls
over them, and repeats what they refuse for as long as they come and go, by the service config that ships with the API.

usage: rolling.py DIR/dev.json STOP

dev.json names every address. Reads tokens and registers merchants until the file STOP is there; then prints one line of JSON: how many
of each there were, and how each one failed that did.
"""

import itertools
import json
import pathlib
import sys
import threading
import time

import grpc
from google.protobuf import timestamp_pb2

from callers import step
from strongroom_dev import PROTO, Dev

from strongroom.v1 import (  # compiled by callers
    onboarding_service_pb2,
    onboarding_service_pb2_grpc,
    token_service_pb2,
    token_service_pb2_grpc,
)

# Enough to have a call under way at every server at every moment.
READERS = 8
# Merchants that are there before the first restart.
MERCHANTS = 5
# At least so long between two registrations of the one registrar: the provider takes 30 calls in 10 s.
REGISTER_EVERY_S = 0.4


class Client:
    """One channel for each caller, to every server."""

    def __init__(self, dev):
        self.dev = dev
        config = json.loads((PROTO / "service_config.json").read_text())
        self.options = [
            ("grpc.service_config", json.dumps(config)),
            ("grpc.ssl_target_name_override", dev.json["grpc"]["server_name"]),
            # Each attempt to connect to a server that is down waits longer than the one before: not longer than a restart takes.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        self.tokens = token_service_pb2_grpc.TokenServiceStub(self.channel("payments"))
        self.onboarding = onboarding_service_pb2_grpc.OnboardingServiceStub(self.channel("onboarding"))

    def channel(self, caller):
        files = self.dev.json["callers"][caller]
        pem = [pathlib.Path(path).read_bytes() for path in (self.dev.json["grpc"]["ca"], files["key"], files["cert"])]
        return grpc.secure_channel(self.dev.json["grpc"]["address"], grpc.ssl_channel_credentials(*pem), self.options)

    def register(self, number):
        """Registers a merchant of its own; returns its external id."""
        name = f"shop-{number}"
        request = onboarding_service_pb2.RegisterMerchantRequest(
            request_id=f"register-{number}",
            external_id=name,
            display_name="Rolling Stall",
            email=f"{name}@rolling.test",
            first_name="Rolf",
            last_name="Stone",
            client_ip="203.0.113.77",
            client_device="a browser",
            terms_time=timestamp_pb2.Timestamp(seconds=int(time.time()) - 3600),
            return_url="https://platform.test/connected",
        )
        self.onboarding.RegisterMerchant(request)
        return name

    def read(self, name):
        return self.tokens.GetAccessToken(token_service_pb2.GetAccessTokenRequest(external_id=name))


class Load:
    """What goes on until it is stopped, and what came of it."""

    def __init__(self, client):
        self.client, self.stopped, self.lock = client, threading.Event(), threading.Lock()
        self.names, self.tokens, self.failed = [], {}, []
        self.counts = {"reads": 0, "registrations": 0}

    def note(self, what, work):
        began = time.monotonic()
        try:
            result = work()
        except Exception as error:  # whatever it is, it counts
            code = error.code().name if isinstance(error, grpc.RpcError) else type(error).__name__
            detail = error.details() if isinstance(error, grpc.RpcError) else str(error)
            with self.lock:
                self.failed.append({"what": what, "code": code, "detail": detail, "s": round(time.monotonic() - began, 3)})
            return None
        with self.lock:
            self.counts[what] += 1
        return result

    def register(self, numbers):
        for number in numbers:
            if self.stopped.is_set():
                return
            name = self.note("registrations", lambda: self.client.register(number))
            if name is not None:
                self.names.append(name)
            self.stopped.wait(REGISTER_EVERY_S)

    def reads(self, first):
        # Each begins with another merchant.
        for at in itertools.count(first):
            if self.stopped.is_set():
                return
            name = self.names[at % len(self.names)]
            answer = self.note("reads", lambda: self.client.read(name))
            if answer is not None:
                # Nothing here brings a merchant a second token: whoever answers, it is the same.
                with self.lock:
                    if self.tokens.setdefault(name, answer.access_token) != answer.access_token:
                        self.failed.append({"what": "reads", "code": "ANOTHER_TOKEN", "detail": name, "s": 0})

    def run(self, stop):
        self.register(range(MERCHANTS))
        assert not self.failed, self.failed
        workers = [threading.Thread(target=self.register, args=(itertools.count(MERCHANTS),))]
        workers += [threading.Thread(target=self.reads, args=(first,)) for first in range(READERS)]
        for worker in workers:
            worker.start()
        step("under way")
        shown = 0
        while not stop.exists():
            time.sleep(0.05)
            if self.counts["reads"] >= shown + 1000:
                shown = self.counts["reads"]
                step(f"{shown} reads, {self.counts['registrations']} registrations, {len(self.failed)} failed")
        self.stopped.set()
        for worker in workers:
            worker.join()
        return {**self.counts, "failed": self.failed}


def main():
    done = Load(Client(Dev(sys.argv[1]))).run(pathlib.Path(sys.argv[2]))
    print(json.dumps(done), flush=True)
    sys.exit(1 if done["failed"] else 0)


if __name__ == "__main__":
    main()
