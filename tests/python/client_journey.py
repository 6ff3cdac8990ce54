"""Whole journeys of a platform that uses WePay's official Python client, against a running sandbox: once without an API version,
once with the newest, whose errors have two keys more.

usage: client_journey.py SANDBOX.json
"""

import sys
import urllib.parse

import requests
from wepay.exceptions import WePayError

from browser import Browser
from client_refusals import every_kind_of_error
from official_client import PASSWORD, REDIRECT, Platform

VERSIONS = (None, "2019-04-03")
TEMPORARY_LIFE_S = 90 * 24 * 60 * 60
CODE_LIFE_S = 10 * 60


def step(platform, text):
    print(f"journey: {platform.version or 'no version'}: {text}", flush=True)


def register(platform, email):
    """A user who is registered by the platform, works at once, and confirms by mail; the token."""
    step(platform, "register, work with the temporary token, confirm by mail")
    issued = platform.ok("/user/register", platform.registration(email, redirect_uri=REDIRECT))
    assert issued["token_type"] == "BEARER" and issued["expires_in"] == TEMPORARY_LIFE_S, issued
    platform.client = platform.new_client(issued["access_token"])
    user = platform.ok("/user")
    assert (user["user_id"], user["state"], user["email"]) == (issued["user_id"], "pending", email), user
    account = platform.ok("/account/create", {"name": "Ann's Bread", "description": "bread & more"})
    assert account["state"] == "pending", account
    here = {"account_id": account["account_id"]}
    text = "pending account cannot be updated; account owner must confirm WePay registration"
    platform.refused("/account/get_update_uri", here, "access_denied", 7002, text=text)

    wish = {"email_subject": "Confirm, please", "email_message": "Zum Bestätigen: ↓", "email_button_text": "Yes"}
    assert platform.ok("/user/send_confirmation", wish)["state"] == "pending"
    (mail,) = platform.control("GET", f"/mails?user_id={issued['user_id']}")["mails"]
    shown = (mail["to"], mail["subject"], mail["message"], mail["button_text"])
    assert shown == (email, wish["email_subject"], wish["email_message"], "Yes"), mail
    browser = Browser()
    url, status, page = browser.go(mail["link"])
    assert status == 200, (status, page)
    url, status, page = browser.submit(url, page, form="confirm", password=PASSWORD, accept="yes", decision="grant")
    assert url.startswith(REDIRECT), (url, status, page)

    assert platform.ok("/user")["state"] == "registered"
    assert platform.ok("/account", here)["state"] == "action_required"
    text = "This access_token is already approved."
    platform.refused("/user/send_confirmation", {}, "invalid_request", 7002, text=text)
    platform.refused("/user/resend_confirmation", {}, "invalid_request", 7002, text=text)
    return issued["access_token"]


def authorize(platform, email):
    """A merchant who comes by the browser; the token."""
    step(platform, "authorize in a browser, exchange, and what an exchange does to the tokens before")
    denied = platform.consent(email, decision="deny", is_new=True, state="s/1 +&")
    assert (denied["error"], denied["state"]) == ("access_denied", "s/1 +&") and denied["error_description"], denied
    granted = platform.consent(email, state="s/1 +&", user_name="Ann Baker", user_email=email)
    assert granted["tab"] == "payments" and granted["state"] == "s/1 +&", granted
    first = platform.exchange(granted["code"], callback_uri=platform.sandbox["api"] + "/../notices?of=ann")
    assert first["token_type"] == "BEARER" and not first.get("expires_in"), first
    assert first["access_token"].startswith("STAGE_"), "the environment's own tokens"
    assert platform.client.access_token == first["access_token"]
    assert platform.ok("/user")["user_id"] == first["user_id"]

    raises(lambda: platform.exchange(granted["code"]), 1003, "invalid code parameter")
    assert platform.ok("/user")["user_id"] == first["user_id"], "a used code changes nothing"
    second = platform.exchange(platform.code(email))
    assert second["user_id"] == first["user_id"] and second["access_token"] != first["access_token"]
    platform.refused("/user", {}, "access_denied", 1011, token=first["access_token"])
    assert platform.ok("/user")["user_id"] == first["user_id"]

    code = platform.code(email)
    raises(lambda: platform.exchange(code, redirect_uri=REDIRECT + "&more=1"), 1003)
    raises(lambda: platform.exchange(code, client_secret="0000000000"), error="invalid_client")
    other = platform.control("POST", "/apps", {})
    other = {"client_id": int(other["client_id"]), "client_secret": other["client_secret"]}
    raises(lambda: platform.exchange(code, **other), 1013)
    raises(lambda: platform.exchange(code[:-1]), 1003, "invalid code parameter")
    platform.control("POST", "/clock", {"advance_s": CODE_LIFE_S})
    raises(lambda: platform.exchange(code), 1012, "the code has expired")
    assert platform.ok("/user")["user_id"] == first["user_id"], "no refusal of an exchange touches a token"
    return second["access_token"]


def raises(work, code=None, text=None, error="invalid_request"):
    """get_token is the one method of the client that raises an error of the API."""
    try:
        answer = work()
    except WePayError as refusal:
        assert refusal.error_type == error, (refusal.error_type, refusal.error_code, str(refusal))
        assert code is None or refusal.error_code == code, (refusal.error_code, str(refusal))
        assert text is None or str(refusal) == text, str(refusal)
        return
    raise AssertionError(f"went through: {sorted(answer)}")


def users(platform):
    step(platform, "look at the user and change it, with and without a body")
    user = platform.ok("/user")
    assert platform.recorder.answer.request.headers["Content-Length"] == "0", "the client sends no body at all"
    assert platform.ok("/user", {}) == user
    assert platform.recorder.answer.request.headers["Content-Length"] == "0"
    assert user["user_name"] == f"{user['first_name']} {user['last_name']}", user
    uri = "https://platform.test/notices?of=a%20b&c"
    assert platform.ok("/user/modify", {"callback_uri": uri})["callback_uri"] == uri
    assert platform.ok("/user")["callback_uri"] == uri
    rbit = {"type": "phone", "receive_time": 1700000000, "source": "user", "properties": {"phone": "650-555-1234"}}
    assert platform.ok("/user/modify", {"rbits": [rbit]})["callback_uri"] == uri


def accounts(platform):
    step(platform, "accounts: create, look up, find, change, doubled reference, pages, delete")
    wish = {"name": "Zoë's Räder / Söhne", "description": "Fahrräder, “gebraucht”", "reference_id": "order/1"}
    made = platform.ok("/account/create", {**wish, "type": "business", "gaq_domains": ["UA-1-1"]})
    here = {"account_id": made["account_id"]}
    assert {name: made[name] for name in wish} == wish and made["type"] == "business", made
    assert (made["state"], made["currencies"]) == ("action_required", ["USD"]), made
    assert platform.ok("/account", here) == made
    assert platform.ok("/account", {"account_id": str(made["account_id"])}) == made, "digits in a string"
    assert [one["account_id"] for one in platform.ok("/account/find", {"reference_id": "order/1"})] == [here["account_id"]]
    assert [one["account_id"] for one in platform.ok("/account/find", {"name": wish["name"]})] == [here["account_id"]]
    platform.refused("/account/create", wish, "invalid_request", 1003)
    other = platform.ok("/account/create", {**wish, "reference_id": "order/2"})
    platform.refused("/account/modify", {**here, "reference_id": "order/2"}, "invalid_request", 1003)
    found = [one["account_id"] for one in platform.ok("/account/find")]
    assert found[:2] == [other["account_id"], here["account_id"]], "the newest first"
    assert [one["account_id"] for one in platform.ok("/account/find", {"sort_order": "ASC"})] == found[::-1]

    changed = platform.ok("/account/modify", {**here, "name": "Räder", "callback_uri": "https://platform.test/n"})
    assert (changed["name"], changed["callback_uri"]) == ("Räder", "https://platform.test/n"), changed
    assert changed["description"] == wish["description"] and platform.ok("/account", here) == changed

    reserve = platform.ok("/account/get_reserve_details", here)
    assert (reserve["account_id"], reserve["currency"], reserve["reserved_amount"]) == (made["account_id"], "USD", 0)
    assert reserve["withdrawals_schedule"] == [], reserve
    update = platform.ok("/account/get_update_uri", {**here, "redirect_uri": REDIRECT})
    assert update["account_id"] == made["account_id"], update
    page = Browser().go(update["uri"])
    assert page[1] == 200 and "sandbox" in page[2], page
    framed = platform.ok("/account/get_update_uri", {**here, "mode": "iframe"})["uri"]
    assert "iframe=1" in urllib.parse.urlparse(framed).query, framed

    gone = {"account_id": other["account_id"]}
    assert platform.ok("/account/delete", {**gone, "reason": "closed"}) == {**gone, "state": "deleted"}
    assert other["account_id"] not in [one["account_id"] for one in platform.ok("/account/find")]
    assert platform.ok("/account", gone)["state"] == "deleted"
    platform.refused("/account/modify", {**gone, "name": "Back"}, "invalid_request", 3003)
    again = platform.ok("/account/create", {**wish, "reference_id": "order/2"})
    assert again["account_id"] != other["account_id"], "a deleted account's reference is free"
    return here["account_id"]


def apps(platform):
    step(platform, "the app")
    app = platform.ok("/app", platform.app)
    assert (app["client_id"], app["state"]) == (platform.app["client_id"], "active"), app
    theme = {"name": "Bread", "primary_color": "FFFFFF", "secondary_color": "000000"}
    theme |= {"background_color": "FFFFFF", "button_color": "FF0000"}
    changed = platform.ok("/app/modify", {**platform.app, "theme_object": theme, "gaq_domains": ["UA-2-2"]})
    assert theme.items() <= changed["theme_object"].items() and changed["gaq_domains"] == ["UA-2-2"], changed
    assert platform.ok("/app", platform.app) == changed


def batches(platform, account_id):
    step(platform, "a batch, with errors inside")
    token = platform.client.access_token
    inside = [
        {"call": "/user", "authorization": token, "reference_id": "a"},
        {"call": "/account", "authorization": token, "reference_id": "b", "parameters": {"account_id": 1}},
        {"call": "/account", "authorization": token, "parameters": {"account_id": account_id}},
        {"call": "/account/find", "reference_id": "d"},
        {"call": "/nothing", "authorization": token, "reference_id": "e"},
        {"call": "/account/create", "authorization": token, "reference_id": "f", "parameters": {"name": "No more"}},
    ]
    answers = platform.ok("/batch/create", {**platform.app, "calls": inside})["calls"]
    assert [answer["call"] for answer in answers] == [call["call"] for call in inside], answers
    assert [answer.get("reference_id") for answer in answers] == ["a", "b", None, "d", "e", "f"], answers
    codes = [answer["response"].get("error_code") for answer in answers]
    assert codes == [None, 3002, None, 1002, 1001, 1004], answers
    assert answers[2]["response"] == platform.ok("/account", {"account_id": account_id})
    platform.refused("/batch/create", {**platform.app, "calls": "all"}, "invalid_request", 1003)
    platform.refused("/batch/create", {**platform.app, "client_secret": "0", "calls": []}, "invalid_client", 1003)


def lost_answers(platform, email):
    step(platform, "answers that are lost or not JSON, as the client shows them")
    order = {"name": "Lost and Found", "description": "x", "reference_id": "lost"}
    platform.fault("/account/create", "lose_after")
    breaks(lambda: platform.client.call("/account/create", order), requests.exceptions.ConnectionError)
    (found,) = platform.ok("/account/find", {"reference_id": "lost"})
    assert found["name"] == "Lost and Found", found
    for kind, more in (("status", {"status": 502}), ("malformed", {})):
        platform.fault("/account", kind, **more)
        breaks(lambda: platform.client.call("/account", {"account_id": found["account_id"]}), ValueError)
    code, before = platform.code(email), platform.client.access_token
    platform.fault("/oauth2/token", "lose_after")
    breaks(lambda: platform.exchange(code), requests.exceptions.ConnectionError)
    platform.refused("/user", {}, "access_denied", 1011, token=before)
    raises(lambda: platform.exchange(code), 1003, "invalid code parameter")


def breaks(work, error):
    try:
        answer = work()
    except error:
        return
    raise AssertionError(f"went through: {answer}")


def main():
    for number, version in enumerate(VERSIONS):
        platform = Platform(sys.argv[1], version)
        platform.control("POST", "/settings", {"throttle": "off", "registered_domain": "platform.test"})
        register(platform, f"ann{number}@bread.test")
        users(platform)
        email = f"zoe{number}@wheels.test"
        authorize(platform, email)
        users(platform)
        account_id = accounts(platform)
        apps(platform)
        batches(platform, account_id)
        every_kind_of_error(platform, account_id, step)
        lost_answers(platform, email)
    print("journey: done", flush=True)


if __name__ == "__main__":
    main()
