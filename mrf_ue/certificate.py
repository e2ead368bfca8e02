"""The UE's account at the KMS by an RSA certificate instead of a key (RFC 6043 4.2.1.3): options and files."""

import argparse
from pathlib import Path

from mrf_ops.config import read_secret
from mrf_protocols.mikey import CertifiedAccount, EnvelopeKey, MikeyError, Signer


def add_certificate(kms: "argparse._ArgumentGroup") -> None:
    """Options of the certificate."""
    kms.add_argument(
        "--kms-cert", type=Path, metavar="FILE", help="instead of a key: our RSA certificate chain (PEM)"
    )
    kms.add_argument("--kms-key", type=Path, metavar="FILE", help="private key of --kms-cert (PEM)")
    kms.add_argument(
        "--kms-envelope-cert",
        type=Path,
        metavar="FILE",
        help="the RSA certificate of the KMS, to which envelope keys are encrypted (PEM)",
    )


def certificate_account(arguments: argparse.Namespace) -> CertifiedAccount | None:
    """The account that the options name, None without any. Raises ValueError (one sentence)."""
    named = (arguments.kms_cert, arguments.kms_key, arguments.kms_envelope_cert)
    if not any(named):
        return None
    if not all(named):
        raise ValueError("--kms-cert, --kms-key and --kms-envelope-cert go together")
    try:
        key = read_secret(arguments.kms_key).reveal()
        signer = Signer.from_pem(key, arguments.kms_cert.read_bytes())
        return CertifiedAccount(signer, EnvelopeKey.from_pem(arguments.kms_envelope_cert.read_bytes()))
    except MikeyError as error:
        raise ValueError(f"--kms-cert, --kms-key, --kms-envelope-cert: {error.text}") from None
    except OSError as error:
        raise ValueError(f"{error.filename} cannot be read: {error.strerror}") from None
