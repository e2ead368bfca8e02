"""The grammar of SDP as regular expressions, under the rule names of RFC 8866 9 and of the attributes'
own RFCs.

Patterns are for `fullmatch` on one line without its end. No pattern can backtrack more than linearly:
each repeated part is divided by a character that the part itself cannot hold. Numbers are bounded in
length (RFC 8866 does not bound them) so that converting one costs nothing.
"""

import re

_token = r"[!#$%&'*+\-.^_`{|}~0-9A-Za-z]+"
_non_ws = r"[^\x00-\x20\x7f]+"
_digits = r"[0-9]{1,40}"
_byte_string = r"[^\x00\r\n]+"

number = re.compile(_digits)
token = re.compile(_token)
byte_string = re.compile(_byte_string)

# RFC 8866 5 demands 1*; devices send "s=" with nothing behind it, and nothing is lost by taking that.
text = re.compile(r"[^\x00\r\n]*")

# unicast-address and connection-address in their widest form (extn-addr): who uses an address looks closer.
origin = re.compile(
    rf"(?P<username>{_non_ws}) (?P<session_id>{_digits}) (?P<version>{_digits})"
    rf" (?P<net_type>{_token}) (?P<addr_type>{_token}) (?P<address>{_non_ws})"
)
connection = re.compile(rf"(?P<net_type>{_token}) (?P<addr_type>{_token}) (?P<address>{_non_ws})")
bandwidth = re.compile(rf"(?P<kind>{_token}):(?P<value>{_digits})")
timing = re.compile(rf"(?P<start>{_digits}) (?P<stop>{_digits})")
attribute = re.compile(rf"(?P<name>{_token})(?::(?P<value>{text.pattern}))?")

# fmt is a token in RFC 8866; any visible ASCII is taken, since it is only ever repeated back.
media = re.compile(
    rf"(?P<media>{_token}) (?P<port>[0-9]{{1,5}})(?:/(?P<count>[0-9]{{1,5}}))?"
    rf" (?P<proto>{_token}(?:/{_token})*)(?P<formats>(?: [\x21-\x7e]+)+)"
)

# RFC 4567 3.1: key-mgmt-att-value = 0*1SP prtcl-id SP keymgmt-data
key_mgmt_value = re.compile(r" ?(?P<protocol>[A-Za-z0-9]+) (?P<data>[A-Za-z0-9+/]+={0,2})")

# RFC 8856 5.4, with RFC 4583's missing streams and the misspelling of its example.
floorid_value = re.compile(
    rf"(?P<floor>{_digits})(?: (?:mstrm|m-stream):(?P<labels>{_token}(?: {_token})*))?"
)
