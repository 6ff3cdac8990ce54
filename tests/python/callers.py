"""The callers of dev.json over generated stubs, and what every part of the journey needs."""

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from strongroom_dev import compile_stubs

compile_stubs()

from strongroom.v1 import (  # noqa: E402  (compiled above)
    account_service_pb2_grpc,
    admin_service_pb2_grpc,
    audit_service_pb2_grpc,
    onboarding_service_pb2_grpc,
    token_service_pb2_grpc,
)


def step(text):
    print(f"journey: {text}", flush=True)


def refused(work, *reasons):
    """Expects the call to be refused for one of these reasons; returns the metadata of the refusal."""
    try:
        work()
    except grpc.RpcError as error:
        status = rpc_status.from_call(error)
        assert status is not None, f"no details: {error.code()} {error.details()}"
        info = error_details_pb2.ErrorInfo()
        assert any(detail.Unpack(info) for detail in status.details), f"no ErrorInfo: {error.code()}"
        assert info.domain == "strongroom" and info.reason in reasons, (error.code(), info.reason)
        return dict(info.metadata)
    raise AssertionError(f"went through; expected {reasons}")


class Callers:
    """The services as each caller of dev.json."""

    def __init__(self, dev):
        self.dev, self.channels = dev, {}

    def channel(self, caller):
        if caller not in self.channels:
            self.channels[caller] = self.dev.channel(caller)
        return self.channels[caller]

    def onboarding(self, caller="onboarding"):
        return onboarding_service_pb2_grpc.OnboardingServiceStub(self.channel(caller))

    def accounts(self, caller="onboarding"):
        return account_service_pb2_grpc.AccountServiceStub(self.channel(caller))

    def tokens(self, caller="payments"):
        return token_service_pb2_grpc.TokenServiceStub(self.channel(caller))

    def audit(self, caller="auditor"):
        return audit_service_pb2_grpc.AuditServiceStub(self.channel(caller))

    def admin(self, caller="admin"):
        return admin_service_pb2_grpc.AdminServiceStub(self.channel(caller))
