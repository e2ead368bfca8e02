"""The page for people: conferences, floors and calls as they are, and the ladder of a recent call. Read-only."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from urllib.parse import unquote

from mrf_ops.ladder import ladder_of, render_svg
from mrf_ops.recent import RecentCalls
from mrfc.jobs import QueryAnswer
from mrfc.operator.http import as_json

LADDERS, TRACES = "/ladders/", "/traces/"
_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self'; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_HEADERS = (
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
)


class Page:
    """Files of the page, traces and ladders of recent calls. None of it without `[web] page = true`."""

    def __init__(self, recent: RecentCalls | None) -> None:
        self._recent = recent

    def answer(self, path: str) -> QueryAnswer | None:
        """The answer to GET, None for a path that is not of the page."""
        if self._recent is None:
            return None
        if (file := _FILES.get(path)) is not None:
            text = resources.files("mrfc").joinpath("web", file[0]).read_text(encoding="utf-8")
            return QueryAnswer(200, file[1], text, _HEADERS)
        if path == "/traces":
            return as_json(200, self._recent.correlations(), _HEADERS)
        if path.startswith(TRACES):
            events = self._recent.events(unquote(path.removeprefix(TRACES)))
            return as_json(200, events, _HEADERS) if events else _unknown()
        if path.startswith(LADDERS) and path.endswith(".svg"):
            events = self._recent.events(unquote(path.removeprefix(LADDERS).removesuffix(".svg")))
            if not events:
                return _unknown()
            ladder = replace(ladder_of(events), missing=())  # what the MRFC cannot see is not missing
            return QueryAnswer(200, "image/svg+xml", render_svg(ladder), _HEADERS)
        return None


def _unknown() -> QueryAnswer:
    return QueryAnswer(404, "text/plain", "no such call among the recent ones\n", _HEADERS)
