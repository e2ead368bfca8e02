#!/usr/bin/env escript
%%! +S 1
%% Rates of Erlang/OTP's megaco codec: argument 1 is a folder with *.pretty and *.compact messages, argument 2 the seconds
%% for each rate. Prints, for both styles, messages decoded and encoded per CPU second, over all messages that it can.
-mode(compile).

main([Folder, Seconds]) ->
    Limit = list_to_integer(Seconds) * 1000,
    lists:foreach(fun(Style) -> rates(Folder, Style, Limit) end, ["pretty", "compact"]).

rates(Folder, Style, Limit) ->
    Encoder = list_to_atom("megaco_" ++ Style ++ "_text_encoder"),
    Files = lists:sort(filelib:wildcard(filename:join(Folder, "*." ++ Style))),
    Texts = [Text || {ok, Text} <- lists:map(fun file:read_file/1, Files), readable(Encoder, Text)],
    Messages = [Message || Text <- Texts, {ok, Message} <- [catch Encoder:decode_message([], Text)]],
    Written = [Message || Message <- Messages, {ok, _} <- [catch Encoder:encode_message([], version(Message), Message)]],
    Decoded = rate(fun() -> [{ok, _} = Encoder:decode_message([], Text) || Text <- Texts] end, length(Texts), Limit),
    Encoded = rate(fun() -> [{ok, _} = Encoder:encode_message([], version(Message), Message) || Message <- Written] end,
                   length(Written), Limit),
    io:format("~s ~b ~b ~b~n", [Style, length(Texts), round(Decoded), round(Encoded)]).

readable(Encoder, Text) ->
    case catch Encoder:decode_message([], Text) of {ok, _} -> true; _ -> false end.

version(Message) -> element(2, element(3, Message)).

rate(Work, Count, Limit) ->
    {Began, _} = statistics(runtime),
    repeat(Work, Count, Began, Limit, 0).

repeat(Work, Count, Began, Limit, Done) ->
    Work(),
    {Now, _} = statistics(runtime),
    case Now - Began of
        Spent when Spent >= Limit -> (Done + Count) * 1000 / Spent;
        _ -> repeat(Work, Count, Began, Limit, Done + Count)
    end.
