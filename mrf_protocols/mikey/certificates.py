"""Public keys in REQUEST_INIT_PK and RESOLVE_INIT_PK: chains, signatures, envelopes (RFC 3830 3.2, 6.3, 6.5, 6.7).

RSA only, the arithmetic is that of `cryptography`. Signatures are made with SHA-256; SHA-1, the default of
RFC 3830, is not taken: collisions can be had for money.
"""

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, AsymmetricPadding, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from mrf_protocols.mikey.errors import MikeyError
from mrf_protocols.mikey.headers import Header
from mrf_protocols.mikey.message import Message, encode
from mrf_protocols.mikey.numbers import CertType, ErrorNumber, HashFunc, PkeCache, SignatureType
from mrf_protocols.mikey.payloads import Certificate, CertificateHash, Payload, Pke, Sign

MIN_RSA_BITS = 2048
MAX_CHAIN = 8
"""Certificates of one chain."""
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` raises over octets that are no certificate, and keys that are none."""


@dataclass(frozen=True, slots=True)
class Signer:
    """An RSA key to sign with and its certificate chain as DER, the own certificate first.

    `send_chain` False leaves the CERT payloads out, for a KMS that has the certificate already.
    """

    key: RSAPrivateKey = field(repr=False)
    chain: tuple[bytes, ...]
    send_chain: bool = True

    @classmethod
    def from_pem(cls, key: bytes, chain: bytes, *, send_chain: bool = True) -> "Signer":
        """Read both from PEM. Raises MikeyError (error 8) for what is no RSA key or does not fit together."""
        private, certificates = rsa_key(key), pem_chain(chain)
        if public_key(certificates[0]).public_numbers() != private.public_key().public_numbers():
            raise MikeyError(ErrorNumber.INVALID_CERT, "private key and certificate do not belong together")
        return cls(private, certificates, send_chain)

    def payloads(self) -> tuple[Payload, ...]:
        """Give the CERT payloads, own certificate first (RFC 6043 4.2.1.3)."""
        chain = self.chain if self.send_chain else ()
        return tuple(Certificate(CertType.X509V3, certificate) for certificate in chain)

    def sign(self, header: Header, payloads: Sequence[Payload], tail: bytes) -> bytes:
        """Give the octets of a message with SIGN added; the signature covers it and then `tail`."""
        length = (self.key.key_size + 7) // 8
        unsigned = encode(Message(header, (*payloads, Sign(SignatureType.RSA_PKCS_1, bytes(length)))))
        covered = unsigned[:-length]
        return covered + self.key.sign(covered + tail, PKCS1v15(), SHA256())


@dataclass(frozen=True, slots=True)
class EnvelopeKey:
    """The KMS's certificate as a sender needs it: envelope keys are encrypted to it."""

    certificate: bytes

    @classmethod
    def from_pem(cls, certificate: bytes) -> "EnvelopeKey":
        """Read the certificate from PEM. Raises MikeyError (error 8)."""
        der = pem_chain(certificate)[0]
        public_key(der)
        return cls(der)

    def payloads(self, envelope_key: bytes) -> tuple[Payload, ...]:
        """Give CHASH and PKE for an envelope key, which is not to be cached."""
        sealed = public_key(self.certificate).encrypt(envelope_key, PKCS1v15())
        fingerprint = CertificateHash(HashFunc.SHA_256, sha256(self.certificate).digest())
        return fingerprint, Pke(PkeCache.NO_CACHE, sealed)


@dataclass(frozen=True, slots=True)
class EnvelopeOpener:
    """The KMS's private key and the certificate that senders encrypt to."""

    key: RSAPrivateKey = field(repr=False)
    certificate: bytes

    @classmethod
    def from_pem(cls, key: bytes, certificate: bytes) -> "EnvelopeOpener":
        """Read both from PEM. Raises MikeyError (error 8)."""
        signer = Signer.from_pem(key, certificate)
        return cls(signer.key, signer.chain[0])

    def is_named(self, fingerprint: CertificateHash | None) -> bool:
        """Tell whether CHASH is of this certificate; without CHASH every one will do."""
        if fingerprint is None:
            return True
        if fingerprint.func != HashFunc.SHA_256:
            return False
        return hmac.compare_digest(fingerprint.hash, sha256(self.certificate).digest())

    def open(self, pke: Pke, length: int, rand: Callable[[int], bytes]) -> bytes:
        """Give the envelope key of at least `length` octets.

        What does not decrypt becomes a random key, so that the answer, which is under that key, tells a sender
        nothing about the padding.
        """
        instead = rand(length)
        try:
            opened = self.key.decrypt(pke.data, PKCS1v15())
        except ValueError:
            return instead
        return opened if length <= len(opened) <= 64 else instead


def rsa_key(pem: bytes) -> RSAPrivateKey:
    """Give the RSA private key of a PEM file without passphrase. Raises MikeyError (error 8)."""
    try:
        key = load_pem_private_key(pem, None)
    except _UNREADABLE:
        raise MikeyError(ErrorNumber.INVALID_CERT, "the private key cannot be read") from None
    if not isinstance(key, RSAPrivateKey) or key.key_size < MIN_RSA_BITS:
        raise MikeyError(
            ErrorNumber.INVALID_CERT, f"the private key is not RSA of {MIN_RSA_BITS} bits or more"
        )
    return key


def pem_chain(pem: bytes) -> tuple[bytes, ...]:
    """Give the certificates of a PEM file as DER, in order. Raises MikeyError (error 8)."""
    try:
        return tuple(c.public_bytes(Encoding.DER) for c in x509.load_pem_x509_certificates(pem))
    except _UNREADABLE:
        raise MikeyError(ErrorNumber.INVALID_CERT, "the certificates cannot be read") from None


def public_key(certificate: bytes) -> RSAPublicKey:
    """Give the RSA public key of a DER certificate. Raises MikeyError (error 8)."""
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except _UNREADABLE:
        raise MikeyError(ErrorNumber.INVALID_CERT, "a certificate cannot be read") from None
    if not isinstance(key, RSAPublicKey) or key.key_size < MIN_RSA_BITS:
        raise MikeyError(
            ErrorNumber.INVALID_CERT, f"a certificate is not for RSA of {MIN_RSA_BITS} bits or more"
        )
    return key


def chain_of(message: Message) -> tuple[bytes, ...]:
    """Give the certificates in a message, in order. Raises MikeyError (error 8)."""
    found = [payload for payload in message.payloads if isinstance(payload, Certificate)]
    if len(found) > MAX_CHAIN or any(c.type not in (CertType.X509V3, CertType.X509V3_SIGN) for c in found):
        raise MikeyError(ErrorNumber.INVALID_CERT, "the certificates are too many or not included themselves")
    return tuple(certificate.data for certificate in found)


def verify_signature(message: Message, certificate: bytes, tail: bytes) -> None:
    """Check SIGN of a message against the sender's certificate.

    Raises MikeyError: 8 for a certificate or signature type that will not do, 0 when the signature is wrong.
    """
    sign = message.signature
    padding: AsymmetricPadding = PKCS1v15()
    if sign.type == SignatureType.RSA_PSS:
        padding = PSS(MGF1(SHA256()), PSS.AUTO)
    elif sign.type != SignatureType.RSA_PKCS_1:
        raise MikeyError(ErrorNumber.INVALID_CERT, f"signature type {sign.type} is not supported")
    covered = message.raw[: len(message.raw) - len(sign.signature)]
    try:
        public_key(certificate).verify(sign.signature, covered + tail, padding, SHA256())
    except InvalidSignature:
        raise MikeyError(ErrorNumber.AUTH_FAILURE, "the signature of the message is wrong") from None


def marks_of(certificate: bytes) -> tuple[str, str]:
    """Give what names a DER certificate for operators: SHA-256 fingerprint and serial number in hexadecimal digits.

    Raises MikeyError (error 8).
    """
    try:
        serial = x509.load_der_x509_certificate(certificate).serial_number
    except _UNREADABLE:
        raise MikeyError(ErrorNumber.INVALID_CERT, "a certificate cannot be read") from None
    return sha256(certificate).hexdigest(), f"{serial:x}"


def check_dates(certificate: bytes, now: float) -> None:
    """Refuse a certificate before or after its time (error 8)."""
    try:
        read = x509.load_der_x509_certificate(certificate)
        begin, end = read.not_valid_before_utc, read.not_valid_after_utc
    except _UNREADABLE:
        raise MikeyError(ErrorNumber.INVALID_CERT, "a certificate cannot be read") from None
    if not begin <= datetime.fromtimestamp(now, UTC) <= end:
        raise MikeyError(ErrorNumber.INVALID_CERT, "the certificate is not valid at this time")


def certified_identities(chain: Sequence[bytes], trusted: Sequence[bytes], now: float) -> tuple[str, ...]:
    """Verify a chain to one of the `trusted` authorities (DER) and give the URIs that its first names.

    Each certificate must certify the one before it. URIs with ``*`` are left out: they would be taken for patterns, and
    those are not an authority's to give. Raises MikeyError (error 8).
    """
    try:
        read = [x509.load_der_x509_certificate(certificate) for certificate in chain]
        for one, issuer in pairwise(read):
            one.verify_directly_issued_by(issuer)
        anchors = Store([x509.load_der_x509_certificate(authority) for authority in trusted])
        # The subject's names are read below, whatever else the certificate was made for.
        policy = ExtensionPolicy.permit_all().require_present(
            x509.SubjectAlternativeName, Criticality.AGNOSTIC, None
        )
        builder = PolicyBuilder().store(anchors).time(datetime.fromtimestamp(now, UTC))
        builder = builder.extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=policy)
        builder.build_client_verifier().verify(read[0], read[1:])
        names = read[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        return tuple(uri for uri in uris if "*" not in uri)
    except (*_UNREADABLE, IndexError, InvalidSignature, VerificationError, x509.ExtensionNotFound):
        raise MikeyError(
            ErrorNumber.INVALID_CERT, "the certificate does not lead to a trusted authority"
        ) from None
