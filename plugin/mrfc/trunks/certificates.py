"""Whom a certificate names (RFC 5922 7.1): the SIP domains, host names and addresses in it."""

from __future__ import annotations

import functools

from cryptography import x509

_REMEMBERED = 256


@functools.lru_cache(_REMEMBERED)
def subjects(pem: str) -> frozenset[str]:
    """SIP URIs ("sip:example.com") and DNS names of subjectAltName in lower case; the common name only without any.

    IP addresses of subjectAltName besides. Empty for no certificate, or one that cannot be read.
    """
    if not pem:
        return frozenset()
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        names, addresses = _alternative_names(certificate)
        common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    except ValueError:
        return frozenset()
    return frozenset((*(names or (str(each.value).lower() for each in common)), *addresses))


def _alternative_names(certificate: x509.Certificate) -> tuple[list[str], list[str]]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return [], []
    uris = extension.value.get_values_for_type(x509.UniformResourceIdentifier)
    hosts = extension.value.get_values_for_type(x509.DNSName)
    addresses = extension.value.get_values_for_type(x509.IPAddress)
    return [each.lower() for each in (*uris, *hosts)], [str(each) for each in addresses]
