"""MIKEY (RFC 3830) and MIKEY-TICKET (RFC 6043), sans-IO.

Who uses what
-------------
*UE or MRFC as Initiator*
    ``TicketRequestExchange(psk=, psk_id=, initiator=, kms=, responders=, csb_id=, rand=, now=, suite=SUITE_128,
    flags=None, lifetime=None)``: ``.request() -> bytes``, ``.response(data, now) -> GrantedTicket``;
    ``make_ticket(tpk=, tpk_id=, initiator=, kms=, responders=, rand=, now=, suite=SUITE_128, flags=None,
    lifetime=None) -> GrantedTicket`` (mode 3: no KMS is asked);
    ``TransferInitiator(ticket, initiator, responder, csb_id, rand, now, prot_type=241, sdp_ids="mikey")``:
    ``.init() -> bytes``, ``.early_result() -> TransferResult | None`` (key known before an answer),
    ``.response(data, now) -> TransferResult``.
*MRFC or UE as Responder*
    ``TransferResponder(message, now, acceptance=Acceptance())`` (raises MikeyError before any KMS contact),
    ``.ticket_id``, ``.replay_key``, ``.initiator``, ``.responder``, ``.csb_id``;
    ``.resolve_init(psk=, psk_id=, identity=, kms=, rand=, now=) -> bytes``, ``.resolved(data, now) -> None``,
    ``.respond(rand, now) -> TransferResult`` (``.message`` is TRANSFER_RESP, or b"" when F=0).
*KMS*
    ``issue_ticket(request, ...) -> IssuedTicket``, ``resolve_ticket(request, ...) -> ResolvedTicket``.
*Everyone*
    ``psk_identity(csb_id, cs_id) -> str``, ``kms_user_identity(uri) -> str``,
    ``error_message(offending, number, now) -> bytes``, ``read_error(data) -> int | None``, ``MikeyError``.

``rand`` is always a ``Callable[[int], bytes]`` that gives that many random octets (``os.urandom``); ``now`` is Unix
time in seconds (float). Every failure is a MikeyError whose ``number`` is the error number of the Error payload.
"""
