#!/usr/bin/env escript
%% Decodes every *.msg of a folder with Erlang/OTP's megaco, pretty or compact by the name of the file, writes what OTP
%% makes of it in both styles (*.otp_pretty, *.otp_compact), and prints one line per file: name, ok or error, reason.

-mode(compile).

main([Folder]) ->
    Files = lists:sort(filelib:wildcard(filename:join(Folder, "*.msg"))),
    lists:foreach(fun(File) -> io:format("~s ~s~n", [filename:basename(File), check(File)]) end, Files).

check(File) ->
    {ok, Octets} = file:read_file(File),
    Decoder = decoder(filename:basename(File)),
    case catch Decoder:decode_message([], Octets) of
        {ok, Message} -> rewrite(filename:rootname(File), Message);
        Error -> ["error ", one_line(Error)]
    end.

decoder("compact" ++ _) -> megaco_compact_text_encoder;
decoder(_) -> megaco_pretty_text_encoder.

rewrite(Root, Message) ->
    Version = element(2, element(3, Message)),
    Written = [{Style, catch Encoder:encode_message([], Version, Message)} ||
                  {Style, Encoder} <- [{".otp_pretty", megaco_pretty_text_encoder},
                                       {".otp_compact", megaco_compact_text_encoder}]],
    case [Error || {_, Error} <- Written, element(1, Error) =/= ok] of
        [] ->
            [ok = file:write_file(Root ++ Style, Octets) || {Style, {ok, Octets}} <- Written],
            "ok";
        [Error | _] -> ["unwritable ", one_line(Error)]
    end.

one_line(Term) ->
    lists:flatten(io_lib:format("~0p", [Term])).
