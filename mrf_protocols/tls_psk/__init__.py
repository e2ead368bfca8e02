"""TLS with pre-shared keys, sans-IO: the secured leg of a BFCP connection (RFC 4279, RFC 5487, RFC 5489, RFC
8446).

One shared `ssl.SSLContext` per TLS role and policy (`make_context`), one `TlsEngine` per connection. The TLS
role is a value of its own and says nothing about who opened the TCP connection: in RFC 4583 clause 8 the
offerer of the SDP is the TLS client whatever the TCP roles are.

    context = make_context(TlsRole.CLIENT, TlsPolicy())
    engine = TlsEngine(context, TlsRole.CLIENT, PskCredentials("55667788.1", key))
    engine.start()                      # TLS client: the ClientHello is now in engine.take()
    plaintext = engine.feed(octets)     # octets from the peer; raises TlsPskError
    socket.send(engine.take())          # after every call: octets for the peer (alerts as well)
    engine.ready                        # True once the peer has proved the key
"""

from mrf_protocols.tls_psk.credentials import PskCredentials
from mrf_protocols.tls_psk.engine import TlsEngine
from mrf_protocols.tls_psk.errors import TlsFailure, TlsPskError
from mrf_protocols.tls_psk.policy import TlsPolicy, TlsRole, make_context

__all__ = ["PskCredentials", "TlsEngine", "TlsFailure", "TlsPolicy", "TlsPskError", "TlsRole", "make_context"]
