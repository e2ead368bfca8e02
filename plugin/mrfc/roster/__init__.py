"""The conference as others see it: the conference event package (RFC 4575, RFC 6665)."""
