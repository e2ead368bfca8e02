"""mrfc-ctl: the command line, a client of the HTTP interface."""
