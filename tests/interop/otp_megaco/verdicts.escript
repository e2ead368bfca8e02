#!/usr/bin/env escript
%% Decodes one message a line (base64) of a file with Erlang/OTP's megaco, and prints one line each: ok, or the reason.
%% The scanner and the grammar are the same for pretty and compact text.
-mode(compile).

main([File]) ->
    {ok, Octets} = file:read_file(File),
    Lines = binary:split(Octets, <<"\n">>, [global, trim_all]),
    lists:foreach(fun(Line) -> io:put_chars([verdict(base64:decode(Line)), "\n"]) end, Lines).

verdict(Message) ->
    case catch megaco_pretty_text_encoder:decode_message([], Message) of
        {ok, _} -> "ok";
        Error -> io_lib:format("~0p", [Error])
    end.
