"""What SIP is to the focus: the port to Kamailio, dialogs, refusals, URIs, references."""
