"""How a BFCP message appears in a trace: its name, its key, its telling fields."""

from mrf_protocols.bfcp import ErrorCode, ErrorCodeAttribute, Message, Primitive


def message_name(message: Message) -> str:
    """The primitive, with the status where it has one: `FloorRequestStatus Granted`."""
    return message.name


def message_key(message: Message) -> str:
    """Primitive, transaction and user: the same at both ends."""
    known = isinstance(message.primitive, Primitive)
    label = Primitive(message.primitive).label if known else f"primitive {message.primitive}"
    return f"{label} {message.transaction_id} {message.user_id}"


def message_fields(message: Message) -> dict[str, str]:
    """Floors, request and error code, as far as the message has them."""
    fields = {"conference": str(message.conference_id), "user": str(message.user_id)}
    request = message.floor_request
    floors = message.floor_ids if request is None else request.floor_ids
    if message.floor_request_id is not None:
        fields["request_id"] = str(message.floor_request_id)
    if floors:
        fields["floor"] = ", ".join(map(str, floors))
    error = message.first(ErrorCodeAttribute)
    if error is not None:
        fields["error"] = error_name(error.code)
    return fields


def error_name(code: int) -> str:
    """The error code with the standard's name for it."""
    try:
        return f"{code} {ErrorCode(code).name}"
    except ValueError:
        return str(code)
