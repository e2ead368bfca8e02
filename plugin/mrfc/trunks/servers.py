"""Whether the server at the other end of a TLS connection of ours is the one that we meant (RFC 5922 7.3), sans-IO.

Kamailio verifies by whom a certificate is vouched for, not whom it names; it tells with each response.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from ipaddress import ip_address

from mrfc import jobs
from mrfc.sip import uri
from mrfc.sip.port import OutgoingRequest
from mrfc.trunks import paths


def names_of(address: str) -> frozenset[str]:
    """What a certificate may call the server of a URI: its host, as a DNS name, an IP address, or a SIP URI."""
    try:
        host = uri.host_of(address).strip("[]")
    except uri.UriError:
        return frozenset()
    with contextlib.suppress(ValueError):
        host = str(ip_address(host))  # IPv6 addresses can be written in several ways
    return frozenset((host, f"sip:{host}"))


def is_meant(request: OutgoingRequest, known: Iterable[str], job: jobs.ResponseJob) -> bool:
    """Whether a response is of the server that the request was for.

    known: names besides the host where this request goes: of the trunk, or of the server at which the dialog began and
    which has told us where the next requests go. Only what goes over TLS can be known.
    """
    target = request.next_hop or request.request_uri
    if not job.transport or paths.of_uri(target).transport != "tls":
        return True
    wanted = names_of(target).union(name.lower() for name in known)
    return job.transport == "tls" and not wanted.isdisjoint(job.certified)
