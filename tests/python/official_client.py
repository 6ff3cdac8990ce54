"""WePay's official Python client, as released, with nothing changed but its two addresses, and what a platform's developer has
beside it: a browser for the merchant, and the sandbox's control API for what happens at the provider.
"""

import json
import pathlib
import urllib
import urllib.parse

import requests

# The client was written for Python 2, where this function had its place; only get_authorization_url uses it.
urllib.urlencode = urllib.parse.urlencode

from wepay import WePay  # noqa: E402  (needs the line above)

from browser import PLATFORM, Browser  # noqa: E402

REDIRECT = PLATFORM + "connected?tab=payments"
SCOPES = "manage_accounts,collect_payments,view_user,preapprove_payments,send_money"
PASSWORD = "correct horse battery staple"

# HTTP status of each kind of error; 1001 is the exception that was recorded.
STATUS = {
    "invalid_request": 400,
    "access_denied": 401,
    "invalid_scope": 400,
    "invalid_client": 401,
    "processing_error": 500,
    "throttle_exceeded": 429,
}
KEYS = {"error", "error_description", "error_code"}
KEYS_SINCE_2018_08_29 = KEYS | {"details", "documentation_url"}


class Recorder:
    """Stands where the client has `requests`, sends the same, and keeps the last answer: the client shows its body alone."""

    def __init__(self):
        self.answer = None

    def post(self, *arguments, **options):
        self.answer = None
        self.answer = requests.post(*arguments, **options)
        return self.answer


class Platform:
    """One platform with the client. `version` is the API version it asks for, or None."""

    def __init__(self, path, version):
        self.sandbox = json.loads(pathlib.Path(path).read_text())
        self.version = version
        self.app = {"client_id": int(self.sandbox["client_id"]), "client_secret": self.sandbox["client_secret"]}
        self.recorder = Recorder()
        self.client = self.new_client()

    def new_client(self, token=None):
        client = WePay(production=False, access_token=token, api_version=self.version)
        client.api_endpoint, client.browser_endpoint = self.sandbox["api"], self.sandbox["ui"]
        client.requests = self.recorder
        return client

    def control(self, method, path, body=None):
        """A call of the sandbox's control API."""
        answer = requests.request(method, self.sandbox["control"] + path, json=body, timeout=30)
        assert answer.status_code == 200, (method, path, answer.text)
        return answer.json()

    def fault(self, path, kind, **more):
        self.control("POST", "/faults", {"path": path, "kind": kind, **more})

    def ok(self, call, params=None, token=None):
        """A call that goes through; its answer."""
        answer = self.client.call(call, params, token)
        assert self.recorder.answer.status_code == 200, (call, answer)
        assert "error" not in answer, (call, answer)
        return answer

    def refused(self, call, params, error, code, token=None, text=None):
        """A call that is refused like this; the client hands errors out like any other answer."""
        self.is_refusal(self.client.call(call, params, token), error, code, text)

    def is_refusal(self, answer, error, code, text=None):
        assert (answer.get("error"), answer.get("error_code")) == (error, code), answer
        assert text is None or answer["error_description"] == text, answer
        assert answer["error_description"], answer
        keys = KEYS_SINCE_2018_08_29 if self.version and self.version >= "2018-08-29" else KEYS
        assert set(answer) == keys, answer
        status = 501 if code == 1001 else STATUS[error]
        assert self.recorder.answer.status_code == status, (self.recorder.answer.status_code, answer)
        assert self.recorder.answer.headers["Content-Type"] == "application/json"

    def registration(self, email, **more):
        return {
            **self.app,
            "email": email,
            "scope": SCOPES,
            "first_name": "Ann",
            "last_name": "Baker",
            "original_ip": "203.0.113.7",
            "original_device": "Mozilla/5.0 (X11; Linux x86_64)",
            "tos_acceptance_time": 1700000000,
            **more,
        }

    def consent(self, email, scope=None, decision="grant", is_new=False, **options):
        """The merchant's part, at the address that the client makes; the query that comes back."""
        url = self.client.get_authorization_url(REDIRECT, self.app["client_id"], options, scope)
        browser = Browser()
        url, status, page = browser.go(url)
        assert status == 200, (status, page)
        person = {"email": email, "password": PASSWORD}
        if is_new:
            person |= {"form": "register", "first_name": "Ann", "last_name": "Baker"}
        else:
            person |= {"form": "login"}
        url, status, page = browser.submit(url, page, **person)
        assert status == 200, (status, page)
        url, status, page = browser.submit(url, page, form="consent", decision=decision)
        assert url.startswith(REDIRECT), (url, status, page)
        return dict(urllib.parse.parse_qsl(urllib.parse.urlparse(url).query, keep_blank_values=True))

    def code(self, email, **options):
        return self.consent(email, **options)["code"]

    def exchange(self, code, **more):
        """get_token as the platform calls it. It also keeps the token in the client."""
        known = {"redirect_uri": REDIRECT, **self.app, "code": code}
        return self.client.get_token(**{**known, **more})

    def person(self, email):
        """A registered user who has not granted anything yet."""
        body = {"email": email, "password": PASSWORD, "first_name": "Ann", "last_name": "Baker"}
        return self.control("POST", "/users", body)["user_id"]

    def connected(self, email, **options):
        """A registered user and a token that works."""
        user_id = self.person(email)
        return user_id, self.exchange(self.code(email, **options))["access_token"]
