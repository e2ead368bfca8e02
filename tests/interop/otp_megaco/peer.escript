#!/usr/bin/env escript
%% Erlang/OTP's megaco as media gateway controller or media gateway, driven line by line on standard input; words of a
%% line are separated by spaces, texts travel in base64.
%%
%%   listen tcp|udp Port pretty|compact            be a controller there
%%   connect tcp|udp Port pretty|compact           be a gateway of the controller there
%%   ask Tag Text                                  send the actions of the (text) request message, tell the reply
%%   load Tag Count Outstanding Text               Add by Text and Subtract the result, Count times
%%   answer Text                                   as a gateway: answer every Add with the actions of this message
%%   quiet                                         tell no requests
%%   agree Number                                  as a controller: speak no newer version, however new the gateway
%%   version Number                                protocol version of what is sent from now on
%%   stop                                          close the association and end
%%
%% Answered on standard output: ready; up; down; request Version Text; reply Tag Version Text; failed Tag Term;
%% loaded Tag Microseconds Failures; fault Term (syntax and message errors, unexpected transactions).
-module(otp_peer).
-mode(compile).
-export([handle_connect/2, handle_connect/3, handle_disconnect/3, handle_syntax_error/3, handle_syntax_error/4,
         handle_message_error/3, handle_message_error/4, handle_trans_request/3, handle_trans_request/4,
         handle_trans_long_request/3, handle_trans_long_request/4, handle_trans_reply/4, handle_trans_reply/5,
         handle_trans_ack/4, handle_trans_ack/5, handle_unexpected_trans/3, handle_unexpected_trans/4,
         handle_trans_request_abort/4, handle_trans_request_abort/5, handle_segment_reply/5, handle_segment_reply/6]).

main([Name]) ->
    ets:new(state, [named_table, public]),
    register(out, spawn_link(fun out/0)),
    ok = megaco:start(),
    Mid = {deviceName, Name},
    ok = megaco:start_user(Mid, [{user_mod, ?MODULE}]),
    ets:insert(state, [{mid, Mid}, {version, 1}, {agree, 3}]),
    loop().

loop() ->
    case io:get_line("") of
        eof -> halt(0);
        Line ->
            handle(string:tokens(string:trim(Line), " ")),
            loop()
    end.

handle(["listen", Transport, Port, Style]) ->
    Handle = receive_handle(Transport, Style),
    Options = [{port, list_to_integer(Port)}, {receive_handle, Handle}],
    case Transport of
        "tcp" ->
            {ok, Pid} = megaco_tcp:start_transport(),
            ok = megaco_tcp:listen(Pid, Options);
        "udp" ->
            {ok, Pid} = megaco_udp:start_transport(),
            {ok, _, _} = megaco_udp:open(Pid, Options)
    end,
    say(["ready"]);
handle(["connect", Transport, Port, Style]) ->
    Handle = receive_handle(Transport, Style),
    Number = list_to_integer(Port),
    {Sending, Control} =
        case Transport of
            "tcp" ->
                {ok, Pid} = megaco_tcp:start_transport(),
                {ok, Socket, Controller} =
                    megaco_tcp:connect(Pid, [{host, {127, 0, 0, 1}}, {port, Number}, {receive_handle, Handle}]),
                {Socket, Controller};
            "udp" ->
                {ok, Pid} = megaco_udp:start_transport(),
                {ok, Socket, Controller} = megaco_udp:open(Pid, [{port, 0}, {receive_handle, Handle}]),
                {megaco_udp:create_send_handle(Socket, {127, 0, 0, 1}, Number), Controller}
        end,
    {ok, _} = megaco:connect(Handle, preliminary_mid, Sending, Control),
    say(["ready"]);
handle(["answer", Text]) ->
    ets:insert(state, {answer, base64:decode(Text)});
handle(["quiet"]) ->
    ets:insert(state, {quiet, true});
handle(["agree", Number]) ->
    ets:insert(state, {agree, list_to_integer(Number)});
handle(["version", Number]) ->
    switch(list_to_integer(Number));
handle(["ask", Tag, Text]) ->
    Actions = actions(base64:decode(Text)),
    spawn(fun() -> ask(Tag, Actions) end);
handle(["load", Tag, Count, Outstanding, Text]) ->
    Adds = actions(base64:decode(Text)),
    spawn(fun() -> load(Tag, list_to_integer(Count), list_to_integer(Outstanding), Adds) end);
handle(["stop"]) ->
    [megaco:disconnect(Handle, stop) || Handle <- megaco:system_info(connections)],
    halt(0).

receive_handle(Transport, Style) ->
    [{_, Mid}] = ets:lookup(state, mid),
    Handle = megaco:user_info(Mid, receive_handle),
    Encoder = case Style of "pretty" -> megaco_pretty_text_encoder; "compact" -> megaco_compact_text_encoder end,
    Sender = case Transport of "tcp" -> megaco_tcp; "udp" -> megaco_udp end,
    setelement(5, setelement(3, Handle, Encoder), Sender).

actions(Text) ->
    {ok, {_, _, {_, _, _, {transactions, [{transactionRequest, {_, _, Actions}}]}}}} =
        megaco_pretty_text_encoder:decode_message([], Text),
    Actions.

connection() ->
    [{_, Handle}] = ets:lookup(state, connection),
    Handle.

version() -> [{_, Version}] = ets:lookup(state, version), Version.

switch(Version) ->
    ets:insert(state, {version, Version}),
    case ets:lookup(state, connection) of
        [{_, Handle}] -> megaco:update_conn_info(Handle, protocol_version, Version);
        [] -> ok
    end.

ask(Tag, Actions) ->
    case megaco:call(connection(), Actions, [{request_timer, 5000}, {protocol_version, version()}]) of
        {Version, {ok, Replies}} ->
            [switch(Agreed) || Agreed <- agreed(Replies)],
            say(["reply", Tag, integer_to_list(Version), text(reply, Version, Replies)]);
        {Version, {ok, Replies, _}} ->
            say(["reply", Tag, integer_to_list(Version), text(reply, Version, Replies)]);
        {_, Other} -> say(["failed", Tag, term(Other)])
    end.

%% The version that the controller answers a registration with: both sides speak it from now on.
agreed(Replies) ->
    [case element(4, Parameters) of asn1_NOVALUE -> 1; Agreed -> Agreed end ||
        {'ActionReply', 0, _, _, [{serviceChangeReply, {_, _, {serviceChangeResParms, Parameters}}}]} <- Replies].

load(Tag, Count, Outstanding, Adds) ->
    Self = self(),
    Began = erlang:monotonic_time(microsecond),
    [spawn(fun() -> Self ! {done, cycles(Count div Outstanding, Adds, 0)} end) || _ <- lists:seq(1, Outstanding)],
    Failures = lists:sum([receive {done, Failed} -> Failed end || _ <- lists:seq(1, Outstanding)]),
    Spent = erlang:monotonic_time(microsecond) - Began,
    say(["loaded", Tag, integer_to_list(Spent), integer_to_list(Failures)]).

cycles(0, _, Failed) -> Failed;
cycles(Count, Adds, Failed) ->
    case call(Adds) of
        {ok, [{'ActionReply', Context, asn1_NOVALUE, _, [{addReply, {_, [Termination], _}}]}]} ->
            Subtract = {'CommandRequest', {subtractReq, {'SubtractRequest', [Termination], asn1_NOVALUE}},
                        asn1_NOVALUE, asn1_NOVALUE},
            case call([{'ActionRequest', Context, asn1_NOVALUE, asn1_NOVALUE, [Subtract]}]) of
                {ok, [{'ActionReply', Context, asn1_NOVALUE, _, [{subtractReply, _}]}]} ->
                    cycles(Count - 1, Adds, Failed);
                _ -> cycles(Count - 1, Adds, Failed + 1)
            end;
        _ -> cycles(Count - 1, Adds, Failed + 1)
    end.

call(Actions) ->
    {_, Reply} = megaco:call(connection(), Actions, []),
    Reply.

%% What megaco tells ---------------------------------------------------------------------------------------------------

handle_connect(Handle, Version) -> handle_connect(Handle, Version, none).
handle_connect(Handle, _, _) ->
    ets:insert(state, {connection, Handle}),
    say(["up"]),
    ok.

handle_disconnect(_, _, _) -> say(["down"]), ok.

handle_syntax_error(Handle, Version, Error) -> handle_syntax_error(Handle, Version, Error, none).
handle_syntax_error(_, _, Error, _) -> say(["fault", term({syntax, Error})]), reply.

handle_message_error(Handle, Version, Error) -> handle_message_error(Handle, Version, Error, none).
handle_message_error(_, _, Error, _) -> say(["fault", term({message_error, Error})]), no_reply.

handle_trans_request(Handle, Version, Actions) -> handle_trans_request(Handle, Version, Actions, none).
handle_trans_request(_, _, {syntax_error, Error}, _) ->
    say(["fault", term({transaction, Error})]),
    {discard_ack, Error};
handle_trans_request(_, Version, Actions, _) ->
    case ets:member(state, quiet) of
        true -> ok;
        false -> say(["request", integer_to_list(Version), text(request, Version, Actions)])
    end,
    {discard_ack, lists:append([answers(Version, Action) || Action <- Actions])}.

answers(Version, {'ActionRequest', Context, _, _, Commands}) ->
    lists:append([answer(Version, Context, Kind, Request) || {'CommandRequest', {Kind, Request}, _, _} <- Commands]).

answer(Version, _, serviceChangeReq, {_, _, Parameters}) ->
    [{_, Newest}] = ets:lookup(state, agree),
    Agreed = case element(4, Parameters) of asn1_NOVALUE -> 1; Wanted -> min(Wanted, Newest) end,
    self_switch(Agreed),
    reply_actions(Version, ["Context = - {ServiceChange = ROOT {Services {Version = ", integer_to_list(Agreed),
                            ", Profile = bfcp_mrfp/1}}}"]);
answer(_, _, addReq, _) ->
    [{_, Text}] = ets:lookup(state, answer),
    {ok, {_, _, {_, _, _, {transactions, [{transactionReply, Reply}]}}}} =
        megaco_pretty_text_encoder:decode_message([], Text),
    {actionReplies, Replies} = element(4, Reply),
    Replies;
answer(Version, Context, Kind, Request) ->
    Termination = case element(2, Request) of [First | _] -> First; Only -> Only end,
    {megaco_term_id, _, Names} = Termination,
    Command = case Kind of
                  notifyReq -> "Notify"; modReq -> "Modify"; subtractReq -> "Subtract"; auditValueRequest -> "AuditValue"
              end,
    Name = lists:join("/", Names),
    Number = case Context of 0 -> "-"; 16#FFFFFFFF -> "*"; _ -> integer_to_list(Context) end,
    reply_actions(Version, ["Context = ", Number, " {", Command, " = ", Name, "}"]).

%% The reply travels in the old version, what follows in the new one.
self_switch(Version) ->
    spawn(fun() -> timer:sleep(20), switch(Version), say(["version", integer_to_list(Version)]) end).

reply_actions(Version, Text) ->
    Message = iolist_to_binary(["MEGACO/", integer_to_list(Version), " x Reply = 1 {", Text, "}"]),
    {ok, {_, _, {_, _, _, {transactions, [{transactionReply, Reply}]}}}} =
        megaco_pretty_text_encoder:decode_message([], Message),
    {actionReplies, Replies} = lists:keyfind(actionReplies, 1, [E || E <- tuple_to_list(Reply), is_tuple(E)]),
    Replies.

handle_trans_long_request(_, _, _) -> {discard_ack, []}.
handle_trans_long_request(_, _, _, _) -> {discard_ack, []}.
handle_trans_reply(_, _, _, _) -> ok.
handle_trans_reply(_, _, _, _, _) -> ok.
handle_trans_ack(_, _, _, _) -> ok.
handle_trans_ack(_, _, _, _, _) -> ok.
handle_unexpected_trans(_, _, Transaction) -> say(["fault", term({unexpected, Transaction})]), ok.
handle_unexpected_trans(_, _, Transaction, _) -> say(["fault", term({unexpected, Transaction})]), ok.
handle_trans_request_abort(_, _, _, _) -> ok.
handle_trans_request_abort(_, _, _, _, _) -> ok.
handle_segment_reply(_, _, _, _, _) -> ok.
handle_segment_reply(_, _, _, _, _, _) -> ok.

%% Texts ---------------------------------------------------------------------------------------------------------------

text(Kind, Version, Actions) ->
    Transaction = case Kind of
                      request -> {transactionRequest, {'TransactionRequest', 1, Actions}};
                      reply when Version < 3 ->
                          {transactionReply, {'TransactionReply', 1, asn1_NOVALUE, {actionReplies, Actions}}};
                      reply ->
                          {transactionReply, {'TransactionReply', 1, asn1_NOVALUE, {actionReplies, Actions},
                                              asn1_NOVALUE, asn1_NOVALUE}}
                  end,
    Message = {'MegacoMessage', asn1_NOVALUE, {'Message', Version, {deviceName, "x"}, {transactions, [Transaction]}}},
    case catch megaco_pretty_text_encoder:encode_message([], Version, Message) of
        {ok, Octets} -> base64:encode(Octets);
        Unwritable -> ["!", term(Unwritable)]
    end.

term(Term) -> base64:encode(unicode:characters_to_binary(io_lib:format("~0p", [Term]))).

say(Words) -> out ! iolist_to_binary(lists:join(" ", Words)).

out() ->
    receive Line -> io:put_chars([Line, "\n"]), out() end.
