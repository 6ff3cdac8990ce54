"""Every kind of error that the calls of a merchant's onboarding have, as WePay's official Python client hands it out."""


def every_kind_of_error(platform, account_id, step):
    """Needs a platform whose client has a token, and an account of that token's user."""
    here = {"account_id": account_id}
    step(platform, "invalid_request")
    invalid_requests(platform, here)
    step(platform, "access_denied")
    denials(platform, here)
    step(platform, "invalid_scope, invalid_client, processing_error")
    others(platform)
    step(platform, "throttle_exceeded, by both kinds of window")
    for window in ("sliding", "fixed"):
        throttled(platform, window)


def invalid_requests(platform, here):
    refused = platform.refused
    for call in ("/null", "/user/nothing", "/accounts", "/batch"):
        refused(call, {}, "invalid_request", 1001, text="that is not a recognized WePay API call")
    refused("/null", {}, "invalid_request", 1001, token="junk")  # the route comes before the token
    for params in (["x"], "x", 1):
        refused("/account", params, "invalid_request", 1005)
    full = platform.registration("new@bread.test")
    for name in full:
        missing = {key: value for key, value in full.items() if key != name}
        refused("/user/register", missing, "invalid_request", 1004, text=f"{name} parameter is required")
    refused("/oauth2/token", platform.app, "invalid_request", 1004, text="code parameter is required")
    refused("/app", {}, "invalid_request", 1004, text="client_id parameter is required")
    refused("/account", {}, "invalid_request", 1004, text="account_id parameter is required")
    refused("/account/create", {"description": "x"}, "invalid_request", 1004, text="name parameter is required")
    refused("/batch/create", platform.app, "invalid_request", 1004, text="calls parameter is required")

    wrong = {
        "email": ("nobody", None),
        "original_ip": ("2001:db8::1", "invalid original_ip"),
        "redirect_uri": ("/connected", "redirect_uri must be a full uri (ex https://www.wepay.com )"),
        "first_name": ("x" * 128, None),
        "tos_acceptance_time": ("yesterday", "Parameter 'tos_acceptance_time' expected integer"),
        "cvv": ("123", "cvv parameter is unexpected"),
    }
    for name, (value, text) in wrong.items():
        refused("/user/register", {**full, name: value}, "invalid_request", 1003, text=text)
    refused("/account", {"account_id": "12x"}, "invalid_request", 1003, text="Parameter 'account_id' expected integer")
    refused("/account/modify", {**here, "name": "My WePay shop"}, "invalid_request", 1003)
    refused("/account/modify", {**here, "name": "Bread \U0001f956"}, "invalid_request", 1003)
    refused("/account/modify", {**here, "country": "US"}, "invalid_request", 1003, text="country parameter is unexpected")
    refused("/account/find", {"sort_order": "up"}, "invalid_request", 1003)
    refused("/user/modify", {"callback_uri": "https://stage.wepay.com/n"}, "invalid_request", 1003)
    unknown = {**platform.app, "code": "0" * 50, "redirect_uri": "https://platform.test/"}
    refused("/oauth2/token", unknown, "invalid_request", 1003, text="invalid code parameter")
    old = platform.client.api_version
    platform.client.api_version = "2018-09-09"
    answer = platform.client.call("/app", platform.app)
    platform.client.api_version = old
    assert (answer["error"], answer["error_code"]) == ("invalid_request", 1015), answer
    assert all(user["email"] != "new@bread.test" for user in platform.control("GET", "/state")["users"])


def denials(platform, here):
    refused, name = platform.refused, f"denied-{platform.version}"
    token = platform.client.access_token
    bare = platform.new_client()
    platform.is_refusal(
        bare.call("/user"),
        "access_denied",
        1002,
        "could not parse authorization header, a valid access_token is required",
    )
    refused("/user", {}, "access_denied", 1006, token="STAGE_" + "0" * 64)
    text = "You are trying to use an access_token from production on stage"
    refused("/user", {}, "access_denied", 1006, token="PRODUCTION_" + "0" * 64, text=text)
    text = "invalid account_id, account does not exist or does not belong to user"
    refused("/account", {"account_id": 1}, "access_denied", 3002, text=text)

    user_id, narrow = platform.connected(f"{name}@narrow.test", scope="manage_accounts,send_money")
    text = "access token does not have the necessary permissions for this action. Permission required: "
    refused("/user", {}, "access_denied", 1010, token=narrow, text=text + "view_user")
    refused("/account", here, "access_denied", 3002, token=narrow)
    canada = {"name": "Maple", "description": "x", "country": "CA", "currencies": ["CAD"]}
    refused("/account/create", canada, "access_denied", 1010, token=token)
    platform.control("POST", f"/users/{user_id}/revoke")
    refused("/account/find", {}, "access_denied", 1011, token=narrow, text="this access_token has been revoked")

    user_id, doomed = platform.connected(f"{name}@doomed.test")
    platform.control("POST", f"/users/{user_id}/delete")
    refused("/user", {}, "access_denied", 7003, token=doomed)
    platform.client = platform.new_client(token)


def others(platform):
    refused = platform.refused
    full = platform.registration("new@bread.test")
    for scope in ("manage_accounts,view_user", "everything", full["scope"] + ",everything"):
        refused("/user/register", {**full, "scope": scope}, "invalid_scope", 1003)
    wrong = {"client_secret": "0000000000"}, {"client_id": 1}
    for change in wrong:
        for call, params in (("/app", platform.app), ("/app/modify", platform.app), ("/user/register", full)):
            refused(call, {**params, **change}, "invalid_client", 1003)
    app = f"/apps/{platform.app['client_id']}"
    platform.control("POST", app, {"state": "disabled"})
    refused("/app", platform.app, "invalid_client", 1003)
    refused("/user/register", full, "invalid_client", 1003)
    platform.control("POST", app, {"state": "active"})
    assert platform.ok("/app", platform.app)["state"] == "active"

    platform.fault("/user", "status", status=500, error_code=1008)
    text = "there was an unknown error - please contact api@wepay.com for support"
    refused("/user", {}, "processing_error", 1008, text=text)
    assert platform.ok("/user")["state"] == "registered"


def throttled(platform, window):
    """Three calls in an hour, so that the test's own slowness can never matter."""
    limit, hour = 3, 3600
    limits = {"throttle": window, "throttle_calls": limit, "throttle_window_s": hour}
    platform.control("POST", "/settings", limits)
    for _ in range(2):
        platform.control("POST", "/clock", {"advance_s": hour})
        for _ in range(limit):
            platform.ok("/user")
        text = "Your app has been throttled for making too many calls. Please retry this call later"
        platform.refused("/user", {}, "throttle_exceeded", 1007, text=text)
        platform.refused("/app", platform.app, "throttle_exceeded", 1007)
        platform.refused("/null", {}, "invalid_request", 1001)
    platform.control("POST", "/settings", {"throttle": "off", "throttle_calls": 30, "throttle_window_s": 10})
