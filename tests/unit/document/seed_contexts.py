"""Fills the HTTP cache of roc-validator from local files, so that it needs no network; run in its environment."""

import io
import sys
from pathlib import Path

import requests_cache
import urllib3
from requests.adapters import BaseAdapter, HTTPAdapter

cache, context = sys.argv[1], Path(sys.argv[2])
ADDRESS = "https://w3id.org/ro/crate/1.1/context"


class Local(BaseAdapter):
    def send(self, request, **_):
        known = request.url == ADDRESS
        raw = urllib3.HTTPResponse(
            body=io.BytesIO(context.read_bytes() if known else b""),
            status=200 if known else 404,
            headers={"Content-Type": "application/ld+json"},
            preload_content=False,
            request_url=request.url,
            request_method="GET",
        )
        return HTTPAdapter().build_response(request, raw)

    def close(self):
        pass


session = requests_cache.CachedSession(
    cache_name=cache, expire_after=-1, backend="sqlite", allowable_methods=("GET",), allowable_codes=(200, 302, 404)
)
session.mount("https://", Local())
for headers in ({}, {"Accept": "application/ld+json, application/json;q=0.5"}):
    session.get(ADDRESS, headers=headers).raise_for_status()
