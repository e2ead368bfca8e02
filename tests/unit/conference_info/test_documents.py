"""Conference information documents: what is written is read again, whatever people are called; rules of RFC 4575 4."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrf_protocols.conference_info import (
    ConferenceInfoError,
    ConferenceState,
    Description,
    DisconnectionMethod,
    Endpoint,
    EndpointStatus,
    Execution,
    FloorControl,
    JoiningMethod,
    Media,
    Mirror,
    Part,
    Update,
    User,
    contents,
    deleted_user,
    document,
    write_user,
)

ENTITY = "sip:meeting@conf.example"
USERS_ABC = [User("a"), User("b"), User("c")]
NS = "urn:ietf:params:xml:ns:conference-info"
XML_TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff", min_codepoint=0x20),
    max_size=20,
).map(str.strip)
NUMBERS = st.lists(st.integers(1, 65_535), max_size=3).map(tuple)
EXECUTIONS = st.none() | st.builds(Execution, st.none() | st.integers(0, 2**32), XML_TEXT, XML_TEXT)
ENDPOINTS = st.builds(
    Endpoint,
    entity=XML_TEXT,
    status=st.none() | st.sampled_from(EndpointStatus),
    display_text=XML_TEXT,
    referred=EXECUTIONS,
    joining_method=st.none() | st.sampled_from(JoiningMethod),
    joining_info=EXECUTIONS,
    disconnection_method=st.none() | st.sampled_from(DisconnectionMethod),
    disconnection_info=EXECUTIONS,
    media=st.lists(
        st.builds(
            Media,
            id=XML_TEXT,
            type=XML_TEXT,
            status=st.sampled_from(["", "sendrecv"]),
            floor_control=st.none() | st.builds(FloorControl, st.integers(1, 65_535), NUMBERS, NUMBERS),
        ),
        max_size=2,
    ).map(tuple),
)
USERS = st.builds(
    User,
    entity=XML_TEXT.filter(bool),
    display_text=XML_TEXT,
    roles=st.lists(XML_TEXT.filter(bool), max_size=2).map(tuple),
    endpoints=st.lists(ENDPOINTS, max_size=2).map(tuple),
)
DESCRIPTIONS = st.builds(
    Description,
    XML_TEXT,
    XML_TEXT,
    st.lists(XML_TEXT.filter(bool), max_size=2).map(tuple),
    st.none() | st.integers(0, 10**9),
)


def full(users: list[User], version: int = 1, description: Description | None = None) -> str:
    state = ConferenceState(len(users), active=True)
    inside = contents(Part.FULL, description or Description(), state, map(write_user, users))
    return document(ENTITY, version, Part.FULL, inside)


def partial(inside: str, version: int = 2) -> str:
    return document(ENTITY, version, Part.PARTIAL, inside)


@given(st.lists(USERS, max_size=3, unique_by=lambda user: user.entity), DESCRIPTIONS)
def test_what_is_written_is_read_again(users: list[User], description: Description) -> None:
    mirror = Mirror()
    assert mirror.apply(full(users, description=description)) is Update.TAKEN
    assert mirror.users == {user.entity: user for user in users}
    assert mirror.description == description
    assert mirror.state == ConferenceState(len(users), active=True)
    assert (mirror.entity, mirror.version) == (ENTITY, 1)


@given(st.text(max_size=40))
def test_any_name_makes_a_document(name: str) -> None:
    mirror = Mirror()
    mirror.apply(full([User(f"sip:{name}@x", name, (name,), (Endpoint(name),))]))
    assert len(mirror.users) == 1


def test_a_name_cannot_get_out_of_its_element() -> None:
    name = '"/></user><user entity="sip:eve@x"><display-text>Eve]]>&amp;\x00'
    mirror = Mirror()
    mirror.apply(full([User(f"sip:{name}", name)]))
    assert [user.display_text for user in mirror.users.values()] == [name.replace("\x00", "?")]


def test_elements_stand_in_the_order_of_the_schema() -> None:
    endpoint = Endpoint(
        "e",
        EndpointStatus.DISCONNECTED,
        "Phone",
        Execution(1_100_000_000, by="sip:carol@x"),
        JoiningMethod.DIALED_OUT,
        Execution(1_100_000_000),
        DisconnectionMethod.BOOTED,
        Execution(1_100_000_000, 'Reason: SIP;text="out"'),
        (Media("bfcp", "application", "sendrecv", FloorControl(7, (1, 2), (1,))),),
    )
    text = full([User("sip:a@x", "A", ("chair",), (endpoint,))], 3, Description("D", "S", ("sip:m@x",), 9))
    names = [
        "<conference-info ", "<conference-description>", "<display-text>D", "<subject>", "<conf-uris>", "<uri>",
        "<purpose>", "<maximum-user-count>", "<conference-state>", "<user-count>", "<active>true", "<users ", "<user ",
        "<display-text>A", "<roles>", "<endpoint ", "<display-text>Phone", "<referred>", "<when>", "<by>",
        "<status>disconnected", "<joining-method>dialed-out", "<joining-info>", "<disconnection-method>booted",
        "<disconnection-info>", "<reason>", "<media ", "<type>application", "<status>sendrecv", "<floor-control ",
    ]  # fmt: skip
    places = [text.index(name) for name in names]
    assert places == sorted(places)
    assert "<when>2004-11-09T11:33:20Z</when>" in text
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n')


def test_partial_state_adds_replaces_and_deletes() -> None:
    mirror = Mirror()
    mirror.apply(full([User("sip:a@x", "A"), User("sip:b@x", "B")]))
    users = [write_user(User("sip:a@x", "A!")), deleted_user("sip:b@x"), write_user(User("sip:c@x", "C"))]
    update = mirror.apply(partial(contents(Part.PARTIAL, None, ConferenceState(2), users)))
    assert update is Update.TAKEN
    assert {entity: user.display_text for entity, user in mirror.users.items()} == {
        "sip:a@x": "A!",
        "sip:c@x": "C",
    }
    assert mirror.state.user_count == 2


def test_parts_of_a_user_as_another_focus_may_tell_them() -> None:
    """Partial state down to the endpoint and its media (RFC 4575 4.6)."""
    mirror = Mirror()
    media = (Media("1", "audio", "sendrecv"), Media("2", "video", "sendrecv"))
    mirror.apply(full([User("sip:a@x", "A", (), (Endpoint("e1", media=media), Endpoint("e2")))]))
    inside = (
        '<users state="partial"><user entity="sip:a@x" state="partial">'
        '<endpoint entity="e1" state="partial"><status>on-hold</status>'
        '<media id="2"><type>video</type><status>inactive</status></media></endpoint>'
        '<endpoint entity="e2" state="deleted"/><endpoint entity="e3"><status>pending</status></endpoint>'
        '</user><user entity="sip:b@x" state="partial"><display-text>B</display-text></user></users>'
    )
    assert mirror.apply(partial(inside)) is Update.TAKEN
    first, third = mirror.users["sip:a@x"].endpoints
    assert first.status is EndpointStatus.ON_HOLD
    assert [each.status for each in first.media] == ["sendrecv", "inactive"]
    assert (third.entity, third.status) == ("e3", EndpointStatus.PENDING)
    assert mirror.users["sip:a@x"].display_text == "A"
    assert mirror.users["sip:b@x"].display_text == "B"


def test_versions() -> None:
    mirror = Mirror()
    nothing = contents(Part.PARTIAL, None, None, ())
    assert mirror.apply(partial(nothing)) is Update.GAP  # nothing is known yet
    assert mirror.apply(full([User("sip:a@x")], 5)) is Update.TAKEN
    assert mirror.apply(full([], 5)) is Update.OLD
    assert mirror.apply(partial(nothing, 4)) is Update.OLD
    assert mirror.apply(partial(nothing, 7)) is Update.GAP
    assert mirror.apply(partial(nothing, 6)) is Update.TAKEN
    assert len(mirror.users) == 1
    assert mirror.apply(document(ENTITY, 9, Part.DELETED)) is Update.GONE
    assert mirror.users == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no XML",
        "<conference-info/>",
        f'<conference-info xmlns="{NS}"/>',
        f'<conference-info xmlns="{NS}" version="x"/>',
        f'<conference-info xmlns="{NS}" version="99999999999"/>',
        f'<conference-info xmlns="{NS}" version="1">',
        f'<!DOCTYPE a [<!ENTITY b "c">]><conference-info xmlns="{NS}" version="1">&b;</conference-info>',
        f'<conference-info xmlns="{NS}" version="1">' + "<a>" * 40 + "</a>" * 40 + "</conference-info>",
        f'<conference-info xmlns="{NS}" version="1">\ud800</conference-info>',
        " " * 4_000_001,
    ],
    ids=range(11),
)
def test_what_cannot_be_read_changes_nothing(text: str) -> None:
    mirror = Mirror()
    mirror.apply(full([User("sip:a@x")]))
    with pytest.raises(ConferenceInfoError):
        mirror.apply(text)
    assert (mirror.version, list(mirror.users)) == (1, ["sip:a@x"])


@given(st.text(alphabet=f'<>/="ab {NS[:3]}', max_size=60))
def test_nothing_else_is_raised(text: str) -> None:
    inside = f'<conference-info xmlns="{NS}" version="1">{text}</conference-info>'
    for each in (text, inside):
        mirror = Mirror()
        try:
            mirror.apply(each)
        except ConferenceInfoError:
            assert mirror.version is None
        else:
            assert isinstance(mirror.users, dict)


def test_elements_that_are_told_together_are_told_apart() -> None:
    mirror = Mirror()
    mirror.apply(
        document(ENTITY, 1, Part.FULL, contents(Part.FULL, Description(), None, map(write_user, USERS_ABC)))
    )
    inside = (
        '<users state="partial"><user entity="b" state="deleted"/><user entity="b" state="partial"/>'
        '<user entity="a" state="partial"><display-text>A</display-text></user>'
        '<user entity="d"><display-text>D</display-text></user><user entity="b" state="partial">'
        '<display-text>B</display-text></user><user entity="e" state="deleted"/></users>'
    )
    assert mirror.apply(document(ENTITY, 2, Part.PARTIAL, inside)) is Update.TAKEN
    names = {entity: user.display_text for entity, user in mirror.users.items()}
    assert list(names.items()) == [("a", "A"), ("c", ""), ("b", "B"), ("d", "D")]
