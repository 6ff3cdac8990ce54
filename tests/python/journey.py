"""The main job over real gRPC from another language: one merchant connects, another is registered and gets accounts, one service
gets their tokens, and no other.

usage: journey.py DIR/dev.json
"""

import hashlib
import sys
import threading
import urllib.parse

import cbor2
import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from browser import Browser
from callers import Callers, refused, step
from registered import open_accounts, register_and_confirm, show_who_held_what
from strongroom_dev import Dev

from strongroom.v1 import (  # compiled by callers
    admin_service_pb2,
    audit_service_pb2,
    merchant_pb2,
    onboarding_service_pb2,
    token_pb2,
    token_service_pb2,
    token_service_pb2_grpc,
)

SCOPES = {"manage_accounts", "collect_payments", "view_user", "preapprove_payments", "send_money"}
EMAIL, PASSWORD = "ann@blue-bakery.test", "correct horse battery staple"


def start(callers, request_id, external_id="blue-bakery"):
    request = onboarding_service_pb2.StartAuthorizationRequest(
        request_id=request_id,
        external_id=external_id,
        display_name="Blue Bakery",
        return_url="https://platform.test/connected?tab=payments",
        expected_email=EMAIL,
    )
    return callers.onboarding().StartAuthorization(request, timeout=60)


def consent(dev, invited, register):
    """The merchant's part: link, button, provider's page, and back; returns what return_url received."""
    browser = Browser(dev.tls)
    before = dev.token_calls()
    url, status, page = browser.go(invited.url)
    assert status == 200 and "Blue Bakery" in page, (status, page)
    assert dev.token_calls() == before, "opening the link had an effect"
    url, status, page = browser.submit(url, page)
    if register:
        url, status, page = browser.submit(
            url, page, form="register", first_name="Ann", last_name="Baker", email=EMAIL, password=PASSWORD
        )
    else:
        url, status, page = browser.submit(url, page, form="login", email=EMAIL, password=PASSWORD)
    assert status == 200, (url, status)
    url, status, page = browser.submit(url, page, form="consent", decision="grant")
    for _ in range(200):
        if url.startswith("https://platform.test/"):
            query = urllib.parse.parse_qs(urllib.parse.urlparse(url).query)
            assert query["tab"] == ["payments"], query
            callback = next(hop for hop in browser.hops if "/callback?" in hop)
            return query, callback
        threading.Event().wait(0.1)
        url, status, page = browser.go(url)
    raise AssertionError(f"never came back: {url} {status}")


def moving_clock(dev, work):
    """Does the work while the one clock of product and sandbox is moved on, so that nobody waits for real time."""
    done = threading.Event()

    def move():
        while not done.wait(0.1):
            dev.control("POST", "/clock", {"advance_s": 6})

    mover = threading.Thread(target=move)
    mover.start()
    try:
        return work()
    finally:
        done.set()
        mover.join()


def verify_trails(callers):
    """Verifies every trail by an implementation of its own: deterministic CBOR, hash chain, signatures."""
    key, trails, current, versions = None, {}, None, []
    for piece in callers.audit().ExportTrail(audit_service_pb2.ExportTrailRequest(), timeout=60):
        kind = piece.WhichOneof("piece")
        if kind == "public_key":
            key = Ed25519PublicKey.from_public_bytes(piece.public_key)
        elif kind == "header":
            current = trails.setdefault(piece.header.trail_id, [])
        elif kind == "record":
            current.append(piece.record)
        else:
            versions.extend((ref.connection_id, ref.version) for ref in piece.inventory.versions)
    records = 0
    for name, entries in trails.items():
        previous = bytes(32)
        for seq, entry in enumerate(entries, start=1):
            record = cbor2.loads(entry.record)
            assert cbor2.dumps(record, canonical=True) == entry.record, f"{name}/{seq} is not canonical"
            assert previous in record.values(), f"{name}/{seq} does not follow the record before it"
            assert seq in record.values(), f"{name}/{seq} is not numbered so"
            key.verify(entry.signature, b"strongroom/trail-record/1\0" + entry.record)
            previous = hashlib.sha256(entry.record).digest()
            records += 1
    return len(trails), records, versions


def versions_of_merchants(callers, versions):
    """Those of the inventory whose connection serves a merchant."""
    listed = callers.onboarding().ListMerchants(onboarding_service_pb2.ListMerchantsRequest(), timeout=10).merchants
    connections = {link.connection_id for merchant in listed for link in merchant.links}
    return [version for version in versions if version[0] in connections]


def main(path):
    dev = Dev(path)
    callers = Callers(dev)
    by_name = {"external_id": "blue-bakery"}

    step("a merchant connects")
    invited = start(callers, "journey-1")
    again = start(callers, "journey-1")
    assert (again.url, again.invitation_id) == (invited.url, invited.invitation_id), "same request, other answer"
    query, callback = consent(dev, invited, register=True)
    assert query["outcome"] == ["held"], query
    asked = [call for call in dev.control("GET", "/calls")["calls"] if call["path"] == "/v2/oauth2/authorize"]
    scopes = [set(call["scope"].split(",")) for call in asked if call.get("scope")]
    assert scopes and all(scope == SCOPES for scope in scopes), scopes
    assert dev.token_calls() == 1

    step("held until the platform confirms")
    read = token_service_pb2.GetAccessTokenRequest(**by_name)
    refused(lambda: callers.tokens().GetAccessToken(read, timeout=10), "LINK_HELD")
    wrong = onboarding_service_pb2.ConfirmConnectionRequest(
        request_id="journey-2", merchant_id=invited.merchant_id, confirmation="wrong"
    )
    refused(lambda: callers.onboarding().ConfirmConnection(wrong, timeout=10), "CONFIRMATION_INVALID")
    right = onboarding_service_pb2.ConfirmConnectionRequest(
        request_id="journey-3", merchant_id=invited.merchant_id, confirmation=query["confirmation"][0]
    )
    link = callers.onboarding().ConfirmConnection(right, timeout=10).link
    assert link.state == merchant_pb2.LINK_STATE_ACTIVE

    step("the one service that may gets the token, and it works")
    first = callers.tokens().GetAccessToken(read, timeout=10)
    assert first.version.version == 1 and first.liveness == token_pb2.LIVENESS_LIVE
    status, user = dev.provider_user(first.access_token)
    assert status == 200 and str(user["user_id"]) == first.subject, (status, user)
    by_subject = token_service_pb2.GetAccessTokenRequest(subject=first.subject)
    assert callers.tokens().GetAccessToken(by_subject, timeout=10).access_token == first.access_token

    step("nobody else does")
    for name in ("stranger", "onboarding", "auditor", "admin", "approver"):
        refused(lambda name=name: callers.tokens(name).GetAccessToken(read, timeout=10), "PERMISSION_DENIED")
    try:
        token_service_pb2_grpc.TokenServiceStub(dev.channel(None)).GetAccessToken(read, timeout=5)
        raise AssertionError("a caller without certificate was served")
    except grpc.RpcError as error:
        assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED), error.code()

    step("a second authorization is refused, with evidence")
    evidence = refused(lambda: start(callers, "journey-4"), "TOKEN_STILL_LIVE")
    assert evidence["liveness"] == "live" and evidence["evidence_time"], evidence
    refused(lambda: start(callers, "journey-1", external_id="other"), "REQUEST_ID_REUSED")
    stranger = Browser(dev.tls)
    _, status, _ = stranger.go(callback)
    assert status == 403 or status == 400, f"a callback in another browser was answered {status}"
    assert dev.token_calls() == 1, "the sandbox saw another mint"

    step("revoked at the provider: reported, probed, dead")
    dev.control("POST", f"/users/{first.subject}/revoke")
    report = token_service_pb2.ReportProviderErrorRequest(
        request_id="journey-5", version=first.version, error_code="1011", http_status=401
    )
    told = moving_clock(dev, lambda: callers.tokens().ReportProviderError(report, timeout=60))
    assert told.result == token_service_pb2.REPORT_RESULT_PROBED, told
    assert told.head.liveness == token_pb2.LIVENESS_DEAD, told
    refused(lambda: callers.tokens().GetAccessToken(read, timeout=10), "TOKEN_DEAD")
    known = callers.onboarding().GetMerchant(onboarding_service_pb2.GetMerchantRequest(**by_name), timeout=10).merchant
    assert known.next_action == merchant_pb2.NEXT_ACTION_RECONNECT, known

    step("authorized again: version 2, without a new confirmation")
    invited = start(callers, "journey-6")
    query, _ = moving_clock(dev, lambda: consent(dev, invited, register=False))
    assert query["outcome"] == ["connected"], query
    second = callers.tokens().GetAccessToken(
        token_service_pb2.GetAccessTokenRequest(
            **by_name, min_version=token_pb2.TokenVersionRef(connection_id=first.version.connection_id, version=2)
        ),
        timeout=10,
    )
    assert second.version.version == 2 and second.access_token != first.access_token
    assert dev.provider_user(second.access_token)[0] == 200
    calls = dev.merchants_calls()
    late = token_service_pb2.ReportProviderErrorRequest(
        request_id="journey-7", version=first.version, error_code="1011", http_status=401
    )
    told = callers.tokens().ReportProviderError(late, timeout=10)
    assert told.result == token_service_pb2.REPORT_RESULT_NEWER_VERSION and told.head.ref.version == 2
    assert dev.merchants_calls() == calls, "a report about an old version reached the provider"
    probe = token_service_pb2.VerifyTokenRequest(request_id="journey-8", **by_name)
    assert callers.tokens().VerifyToken(probe, timeout=30).head.liveness == token_pb2.LIVENESS_LIVE
    listed = callers.tokens().ListTokenVersions(token_service_pb2.ListTokenVersionsRequest(**by_name), timeout=10)
    assert [(v.ref.version, v.head, v.liveness) for v in listed.versions] == [
        (2, True, token_pb2.LIVENESS_LIVE),
        (1, False, token_pb2.LIVENESS_DEAD),
    ], listed

    token = register_and_confirm(dev, callers)
    open_accounts(dev, callers, token)
    show_who_held_what(dev, callers, token)

    step("who may, and why")
    question = admin_service_pb2.ExplainAccessRequest(
        caller=dev.json["callers"]["payments"]["id"], action="token.read", **by_name
    )
    answer = callers.admin().ExplainAccess(question, timeout=10)
    assert answer.allowed and [grant.grant_id for grant in answer.grants if grant.allows] == ["payments-read"]
    question.caller = dev.json["callers"]["onboarding"]["id"]
    assert not callers.admin().ExplainAccess(question, timeout=10).allowed
    refused(lambda: callers.admin("stranger").ExplainAccess(question, timeout=10), "PERMISSION_DENIED")

    step("the trails verify, by an implementation of its own")
    trails, records, versions = verify_trails(callers)
    assert trails >= 2 and records > 20 and len(versions_of_merchants(callers, versions)) == 3, (trails, records, versions)
    step(f"done: {trails} trails, {records} records")


if __name__ == "__main__":
    main(sys.argv[1])
