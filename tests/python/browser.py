"""A person's browser of a few lines, for pages that work without scripts."""

import html.parser
import http.cookiejar
import urllib.error
import urllib.parse
import urllib.request

# The platform's own site: nobody answers there, and the browser stops when it is sent there.
PLATFORM = "https://platform.test/"


class Form(html.parser.HTMLParser):
    """The forms of a page, with the values their fields begin with."""

    def __init__(self, text):
        super().__init__()
        self.forms, self.title = [], ""
        self._in_title = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "form":
            self.forms.append({"action": attrs.get("action", ""), "fields": {}, "boxes": {}})
        elif tag == "input" and self.forms and "name" in attrs:
            is_open_box = attrs.get("type") in ("checkbox", "radio") and "checked" not in attrs
            kind = "boxes" if is_open_box else "fields"
            self.forms[-1][kind][attrs["name"]] = attrs.get("value") or ""
        elif tag == "title":
            self._in_title = True

    def handle_endtag(self, tag):
        if tag == "title":
            self._in_title = False

    def handle_data(self, data):
        if self._in_title:
            self.title += data


class StayOnPage(urllib.request.HTTPRedirectHandler):
    """Leaves redirects to the browser, which looks at each hop."""

    def redirect_request(self, *_):
        return None


class Browser:
    """A person's browser: cookies, forms, redirects; stops before it leaves for the platform."""

    def __init__(self, tls=None):
        self.jar = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(
            StayOnPage, urllib.request.HTTPCookieProcessor(self.jar), urllib.request.HTTPSHandler(context=tls)
        )
        self.hops = []

    def go(self, url, fields=None):
        """Fetches the page, following redirects; returns (url, status, text). The platform's own pages are not fetched."""
        for _ in range(20):
            self.hops.append(url)
            if url.startswith(PLATFORM):
                return url, 0, ""
            data = None if fields is None else urllib.parse.urlencode(fields).encode()
            fields = None
            try:
                with self.opener.open(urllib.request.Request(url, data=data), timeout=60) as answer:
                    return url, answer.status, answer.read().decode()
            except urllib.error.HTTPError as answer:
                text = answer.read().decode()
                if answer.code not in (301, 302, 303, 307, 308):
                    return url, answer.code, text
                url = urllib.parse.urljoin(url, answer.headers["Location"])
        raise AssertionError("too many redirects")

    def submit(self, url, text, **filled):
        """Fills in and sends the form that has these fields (the first one when none are named)."""
        for form in Form(text).forms:
            wanted = {name: value for name, value in filled.items() if name != "form"}
            same_kind = "form" not in filled or form["fields"].get("form") == filled["form"]
            known = {*form["fields"], *form["boxes"], "decision"}
            if same_kind and known.issuperset(wanted):
                target = urllib.parse.urljoin(url, form["action"]) if form["action"] else url
                return self.go(target, {**form["fields"], **filled})
        raise AssertionError(f"no form for {sorted(filled)} on the page {Form(text).title!r}")
