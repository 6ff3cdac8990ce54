"""The other way in: a merchant whom the platform registers itself, and payment accounts with the token that came of it."""

import time

from google.protobuf import timestamp_pb2

from browser import Browser
from callers import refused, step

from strongroom.v1 import (  # compiled by callers
    account_pb2,
    account_service_pb2,
    attempt_pb2,
    audit_pb2,
    audit_service_pb2,
    merchant_pb2,
    onboarding_service_pb2,
    token_pb2,
    token_service_pb2,
)

STALL, MARKET = {"external_id": "flower-stall"}, {"external_id": "flower-market"}
EMAIL, PASSWORD = "philippa@flower-stall.test", "three red tulips, wilted"
RETURN_URL = "https://platform.test/connected"
BAD_NAME = "Tulip Corner ORD-2024-00012345"


def registration(request_id, external_id):
    accepted = timestamp_pb2.Timestamp(seconds=int(time.time()) - 3600)
    return onboarding_service_pb2.RegisterMerchantRequest(
        request_id=request_id,
        external_id=external_id,
        display_name="Marchbanks Cut Flowers",
        email=EMAIL,
        first_name="Philippa",
        last_name="Marchbanks",
        client_ip="203.0.113.77",
        client_device="Marchbanks Pocket Browser 7.1",
        terms_time=accepted,
        return_url=RETURN_URL,
    )


def read(callers, **owner):
    return callers.tokens().GetAccessToken(token_service_pb2.GetAccessTokenRequest(**owner), timeout=10)


def merchant(callers, **key):
    return callers.onboarding().GetMerchant(onboarding_service_pb2.GetMerchantRequest(**key), timeout=10).merchant


def mints(dev):
    """How often the sandbox was asked for something that issues tokens."""
    return dev.token_calls() + len(dev.calls("/user/register"))


def register_and_confirm(dev, callers):
    """Registers the stall, links the market, confirms by the mail's page; returns the token's reading."""
    step("registered by the platform: the token works at once, and is temporary")
    minted, order = dev.token_calls(), registration("registered-1", **STALL)
    made = callers.onboarding().RegisterMerchant(order, timeout=60).merchant
    again = callers.onboarding().RegisterMerchant(order, timeout=60).merchant
    assert made.merchant_id == again.merchant_id, "same request, other answer"
    assert len(dev.calls("/user/register")) == 1 and dev.token_calls() == minted
    token = read(callers, **STALL)
    assert token.version.version == 1 and token.liveness == token_pb2.LIVENESS_LIVE
    status, user = dev.provider_user(token.access_token)
    assert status == 200 and user["email"] == EMAIL, (status, user)
    known = merchant(callers, **STALL)
    assert known.next_action == merchant_pb2.NEXT_ACTION_GET_CONFIRMED and known.next_action_text, known
    (link,) = known.links
    assert link.state == merchant_pb2.LINK_STATE_ACTIVE and link.head.issued_kind == token_pb2.ISSUED_KIND_TEMPORARY
    assert not link.head.permanent and link.temporary.expire_time.seconds == token.expire_time.seconds, link
    days = (token.expire_time.seconds - link.head.store_time.seconds) / 86400
    assert 89.9 < days < 90.1, days
    order.first_name = "Phil"
    refused(lambda: callers.onboarding().RegisterMerchant(order, timeout=60), "REQUEST_ID_REUSED")

    step("an e-mail address that is known: linked without a mint")
    minted = mints(dev)
    order = registration("registered-2", **MARKET)
    way_out = refused(lambda: callers.onboarding().RegisterMerchant(order, timeout=60), "CONNECTION_EXISTS")
    assert way_out["way_out"] == "link_merchant", way_out
    order = onboarding_service_pb2.LinkMerchantRequest(
        request_id="registered-3", connection_id=way_out["connection_id"], **MARKET
    )
    refused(lambda: callers.onboarding("auditor").LinkMerchant(order, timeout=10), "PERMISSION_DENIED")
    link = callers.onboarding().LinkMerchant(order, timeout=10).link
    assert link.state == merchant_pb2.LINK_STATE_ACTIVE and link.shared, link
    of_market = read(callers, **MARKET)
    assert (of_market.access_token, of_market.version) == (token.access_token, token.version)
    assert mints(dev) == minted, "linking asked the provider for a token"

    step("confirmed by the mail's page: the same version, now permanent")
    ask = onboarding_service_pb2.SendConfirmationRequest(
        request_id="registered-4", email_subject="One click for your stall", email_button_text="Confirm", **STALL
    )
    for _ in range(2):
        asked = callers.onboarding().SendConfirmation(ask, timeout=30)
        assert asked.result == onboarding_service_pb2.CONFIRMATION_RESULT_SENT, asked
    (mail,) = dev.control("GET", f"/mails?user_id={token.subject}")["mails"]
    assert (mail["to"], mail["subject"]) == (EMAIL, "One click for your stall"), mail
    browser = Browser(dev.tls)
    url, status, page = browser.go(mail["link"])
    assert status == 200, (status, page)
    url, status, page = browser.submit(url, page, form="confirm", password=PASSWORD, accept="yes", decision="grant")
    assert url.startswith(RETURN_URL), (url, status, page)
    probe = token_service_pb2.VerifyTokenRequest(request_id="registered-5", **STALL)
    head = callers.tokens().VerifyToken(probe, timeout=30).head
    assert head.ref == token.version and head.permanent and head.liveness == token_pb2.LIVENESS_LIVE, head
    assert read(callers, **STALL).access_token == token.access_token
    listed = callers.tokens().ListTokenVersions(token_service_pb2.ListTokenVersionsRequest(**STALL), timeout=10)
    assert [version.ref.version for version in listed.versions] == [1], listed
    assert merchant(callers, **STALL).next_action == merchant_pb2.NEXT_ACTION_NONE
    ask.request_id = "registered-6"
    asked = callers.onboarding().SendConfirmation(ask, timeout=30)
    assert asked.result == onboarding_service_pb2.CONFIRMATION_RESULT_ALREADY_CONFIRMED, asked
    assert mints(dev) == minted, "confirming asked the provider for a token"
    return token


def account_order(request_id, name):
    return account_service_pb2.CreateAccountRequest(
        request_id=request_id,
        name=name,
        description="cut flowers, weekly",
        kind=account_pb2.ACCOUNT_KIND_BUSINESS,
        **STALL,
    )


def open_accounts(dev, callers, token):
    """Names, two accounts, tokens by account, and a lost answer."""
    minted = mints(dev)
    create = lambda order: callers.accounts().CreateAccount(order, timeout=60).account  # noqa: E731

    step("a bad name is refused with one that passes, and that becomes an account")
    check = lambda name: callers.accounts().CheckAccountName(  # noqa: E731
        account_service_pb2.CheckAccountNameRequest(name=name), timeout=10
    )
    judged = check(BAD_NAME)
    assert judged.verdict == account_service_pb2.NAME_VERDICT_REFUSE and judged.reasons, judged
    said = refused(lambda: create(account_order("accounts-1", BAD_NAME)), "NAME_REFUSED")
    assert said["suggestion"] == judged.suggestions[0], (said, judged)
    assert not dev.calls("/account/create"), "a refused name reached the provider"
    good = check(said["suggestion"])
    assert good.verdict == account_service_pb2.NAME_VERDICT_ACCEPT and good.preview.at_20.startswith("WPY*"), good
    order = account_order("accounts-2", said["suggestion"])
    first = create(order)
    assert first.opening == account_pb2.ACCOUNT_OPENING_OPEN and first.name == said["suggestion"], first
    assert first.state == account_pb2.ACCOUNT_STATE_ACTION_REQUIRED and first.next_action_text, first

    step("a second account, and no new token")
    second = create(account_order("accounts-3", "Tulip Workshop"))
    assert second.account_id != first.account_id and second.provider_account_id != first.provider_account_id
    assert create(order).account_id == first.account_id, "same request, another account"
    assert len(dev.calls("/account/create")) == 2 and mints(dev) == minted
    change = account_service_pb2.UpdateAccountRequest(
        request_id="accounts-4", account_id=second.account_id, name="Tulip Workshops"
    )
    assert callers.accounts().UpdateAccount(change, timeout=30).account.name == "Tulip Workshops"
    look = account_service_pb2.GetAccountRequest(provider_account_id=second.provider_account_id, refresh=True)
    assert callers.accounts().GetAccount(look, timeout=30).account.name == "Tulip Workshops"

    step("the token by account")
    for account in (first, second):
        for owner in (
            {"account_id": account.account_id},
            {"provider_account_id": account.provider_account_id},
        ):
            by_account = read(callers, **owner)
            assert (by_account.access_token, by_account.version) == (token.access_token, token.version)
            request = token_service_pb2.GetAccessTokenRequest(**owner)
            refused(lambda: callers.tokens("stranger").GetAccessToken(request, timeout=10), "PERMISSION_DENIED")

    step("an account whose answer was lost is found again, once")
    dev.control("POST", "/faults", {"path": "/account/create", "kind": "lose_after"})
    order = account_order("accounts-5", "Tulip Subscriptions")
    third = create(order)
    assert third.opening == account_pb2.ACCOUNT_OPENING_OPEN, third
    assert create(order).account_id == third.account_id
    assert [call["answered"] for call in dev.calls("/account/create")] == [True, True, False]
    status, there = dev.provider("/account/find", token.access_token, name="Tulip Subscriptions")
    assert status == 200 and [str(account["account_id"]) for account in there] == [third.provider_account_id], there
    listed = callers.accounts().ListAccounts(account_service_pb2.ListAccountsRequest(**STALL), timeout=10).accounts
    assert [account.account_id for account in listed] == [a.account_id for a in (first, second, third)], listed
    assert mints(dev) == minted, "an account asked the provider for a token"


def show_who_held_what(dev, callers, token):
    """The auditor's questions: who held this version, what brought it, what the provider was sent."""
    step("who held which token, what brought it, and what was sent for it")
    question = audit_service_pb2.ListEventsRequest(
        connection_id=token.version.connection_id, version=1, kind="token.read", page_size=200
    )
    events = callers.audit().ListEvents(question, timeout=10).events
    payments, stranger = (dev.json["callers"][name]["id"] for name in ("payments", "stranger"))
    held = [event for event in events if event.outcome == audit_pb2.EVENT_OUTCOME_SUCCESS]
    assert held and {event.actor for event in held} == {payments}, events
    assert len({event.merchant_id for event in held}) == 2, "the reads of both merchants"
    by_account = [event for event in held if any(detail.name == "account" for detail in event.details)]
    assert len(by_account) == 4, by_account
    denied = audit_service_pb2.ListEventsRequest(
        actor=stranger, kind="token.read", outcome=audit_pb2.EVENT_OUTCOME_DENIED, page_size=200
    )
    denied = callers.audit().ListEvents(denied, timeout=10).events
    assert len(denied) >= 4, denied
    refused(lambda: callers.audit("payments").ListEvents(question, timeout=10), "PERMISSION_DENIED")

    attempts = callers.tokens("auditor").ListAttempts(token_service_pb2.ListAttemptsRequest(**STALL), timeout=10)
    (attempt,) = attempts.attempts
    assert attempt.kind == attempt_pb2.ATTEMPT_KIND_REGISTER, attempt
    assert attempt.state == merchant_pb2.ATTEMPT_STATE_COMMITTED and attempt.version == token.version, attempt

    def sent(**filters):
        request = audit_service_pb2.ListProviderCallsRequest(page_size=200, **filters)
        return callers.audit().ListProviderCalls(request, timeout=10).calls

    # A call is written behind its answer.
    for _ in range(100):
        creations = sent(call="/account/create")
        if len(creations) == 3:
            break
        time.sleep(0.1)
    outcomes = sorted(call.outcome for call in creations)
    assert outcomes == [audit_pb2.CALL_OUTCOME_DONE] * 2 + [audit_pb2.CALL_OUTCOME_UNKNOWN], creations
    (registered,) = sent(attempt_id=attempt.attempt_id, call="/user/register")
    assert registered.http_status == 200 and registered.outcome == audit_pb2.CALL_OUTCOME_DONE, registered
    everything = sent()
    assert {"/user/register", "/oauth2/token", "/user", "/user/send_confirmation"} <= {c.call for c in everything}
    for call in everything:
        for secret in (token.access_token, EMAIL, "Philippa", "203.0.113.77", "Pocket Browser", "One click"):
            assert secret not in str(call), f"{secret} in the call log"
    assert "[redacted]" in registered.request, registered
