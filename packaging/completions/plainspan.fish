# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_plainspan_global_optspecs
    string join \n log-level= log-format= h/help V/version
end

function __fish_plainspan_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_plainspan_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_plainspan_using_subcommand
    set -l cmd (__fish_plainspan_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c plainspan -n "__fish_plainspan_needs_command" -l log-level -d 'How much the agent says of itself' -r -f -a "off\t''
error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c plainspan -n "__fish_plainspan_needs_command" -l log-format -d 'How it is written' -r -f -a "text\t''
json\t''"
complete -c plainspan -n "__fish_plainspan_needs_command" -s h -l help -d 'Print help'
complete -c plainspan -n "__fish_plainspan_needs_command" -s V -l version -d 'Print version'
complete -c plainspan -n "__fish_plainspan_needs_command" -f -a "run" -d 'Captures, until it is told to stop (SIGTERM, SIGINT)'
complete -c plainspan -n "__fish_plainspan_needs_command" -f -a "check" -d 'Reads a configuration and says everything that is wrong with it'
complete -c plainspan -n "__fish_plainspan_needs_command" -f -a "doctor" -d 'Says whether this host can run the agent, and which processes are captured and how, or why not'
complete -c plainspan -n "__fish_plainspan_needs_command" -f -a "reload" -d 'Makes the running agent read its configuration again, as SIGHUP does'
complete -c plainspan -n "__fish_plainspan_needs_command" -f -a "tail" -d 'Shows transactions as they come: a live view on a terminal, else a line for each'
complete -c plainspan -n "__fish_plainspan_needs_command" -f -a "rules" -d 'Says what the rules of a configuration make of a transaction'
complete -c plainspan -n "__fish_plainspan_needs_command" -f -a "payload" -d 'Reads payloads back: what a link names, lists, reports, archives'
complete -c plainspan -n "__fish_plainspan_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c plainspan -n "__fish_plainspan_using_subcommand run" -s c -l config -d 'Configuration file' -r -F
complete -c plainspan -n "__fish_plainspan_using_subcommand run" -l tier -d 'Force how TLS calls are probed (session, multi, perf), how sockets are (tracepoints, fexit, kprobes, syscalls) and how kernel programs loop (bpf_loop, for_each): words with commas between. Otherwise the best that the kernel takes' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand run" -l record -d 'Also write every kernel event to FILE, for replay. It holds traffic in the clear' -r -F
complete -c plainspan -n "__fish_plainspan_using_subcommand run" -l dry-run -d 'Count for TIME (60s unless given as in --dry-run=10s) what would be sent and stored; nothing is. Ends with a table' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand run" -l status-listen -d 'Where /healthz, /readyz, /status and /metrics are served; `off` for nowhere' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand run" -l ui -d 'Serve the live page, for browsers on this host; ADDR is a loopback address. The page\'s address, with the token that opens it, is printed on stderr' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand run" -l log-level -d 'How much the agent says of itself' -r -f -a "off\t''
error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand run" -l log-format -d 'How it is written' -r -f -a "text\t''
json\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c plainspan -n "__fish_plainspan_using_subcommand run" -s V -l version -d 'Print version'
complete -c plainspan -n "__fish_plainspan_using_subcommand check" -l log-level -d 'How much the agent says of itself' -r -f -a "off\t''
error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand check" -l log-format -d 'How it is written' -r -f -a "text\t''
json\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand check" -l print -d 'Print every value in force and where it comes from; secrets are masked'
complete -c plainspan -n "__fish_plainspan_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c plainspan -n "__fish_plainspan_using_subcommand check" -s V -l version -d 'Print version'
complete -c plainspan -n "__fish_plainspan_using_subcommand doctor" -l status -d 'Where the status of the agent is served' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand doctor" -l log-level -d 'How much the agent says of itself' -r -f -a "off\t''
error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand doctor" -l log-format -d 'How it is written' -r -f -a "text\t''
json\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand doctor" -l all -d 'Also processes without TLS'
complete -c plainspan -n "__fish_plainspan_using_subcommand doctor" -l json -d 'Everything as JSON'
complete -c plainspan -n "__fish_plainspan_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c plainspan -n "__fish_plainspan_using_subcommand doctor" -s V -l version -d 'Print version'
complete -c plainspan -n "__fish_plainspan_using_subcommand reload" -l pid -d 'Process of the agent' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand reload" -l status -d 'Where its status is served' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand reload" -l log-level -d 'How much the agent says of itself' -r -f -a "off\t''
error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand reload" -l log-format -d 'How it is written' -r -f -a "text\t''
json\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand reload" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c plainspan -n "__fish_plainspan_using_subcommand reload" -s V -l version -d 'Print version'
complete -c plainspan -n "__fish_plainspan_using_subcommand tail" -l socket -d 'The agent\'s socket: `live.socket` of its configuration' -r -F
complete -c plainspan -n "__fish_plainspan_using_subcommand tail" -s n -l count -d 'Ends after so many transactions; lines and JSON only' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand tail" -l log-level -d 'How much the agent says of itself' -r -f -a "off\t''
error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand tail" -l log-format -d 'How it is written' -r -f -a "text\t''
json\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand tail" -l lines -d 'Lines, on a terminal too'
complete -c plainspan -n "__fish_plainspan_using_subcommand tail" -l json -d 'A JSON object for each transaction: its payload document, and what the list shows'
complete -c plainspan -n "__fish_plainspan_using_subcommand tail" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c plainspan -n "__fish_plainspan_using_subcommand tail" -s V -l version -d 'Print version'
complete -c plainspan -n "__fish_plainspan_using_subcommand rules; and not __fish_seen_subcommand_from explain test fields help" -l log-level -d 'How much the agent says of itself' -r -f -a "off\t''
error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand rules; and not __fish_seen_subcommand_from explain test fields help" -l log-format -d 'How it is written' -r -f -a "text\t''
json\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand rules; and not __fish_seen_subcommand_from explain test fields help" -s h -l help -d 'Print help'
complete -c plainspan -n "__fish_plainspan_using_subcommand rules; and not __fish_seen_subcommand_from explain test fields help" -s V -l version -d 'Print version'
complete -c plainspan -n "__fish_plainspan_using_subcommand rules; and not __fish_seen_subcommand_from explain test fields help" -f -a "explain" -d 'Says which stack a transaction goes through, which rule decides its level, and which part of it'
complete -c plainspan -n "__fish_plainspan_using_subcommand rules; and not __fish_seen_subcommand_from explain test fields help" -f -a "test" -d 'Checks the outcomes that are expected of a configuration\'s rules'
complete -c plainspan -n "__fish_plainspan_using_subcommand rules; and not __fish_seen_subcommand_from explain test fields help" -f -a "fields" -d 'Lists the fields that rules can ask for, with type, when each is known, and meaning'
complete -c plainspan -n "__fish_plainspan_using_subcommand rules; and not __fish_seen_subcommand_from explain test fields help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c plainspan -n "__fish_plainspan_using_subcommand rules; and __fish_seen_subcommand_from explain" -l log-level -d 'How much the agent says of itself' -r -f -a "off\t''
error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand rules; and __fish_seen_subcommand_from explain" -l log-format -d 'How it is written' -r -f -a "text\t''
json\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand rules; and __fish_seen_subcommand_from explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c plainspan -n "__fish_plainspan_using_subcommand rules; and __fish_seen_subcommand_from explain" -s V -l version -d 'Print version'
complete -c plainspan -n "__fish_plainspan_using_subcommand rules; and __fish_seen_subcommand_from test" -l log-level -d 'How much the agent says of itself' -r -f -a "off\t''
error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand rules; and __fish_seen_subcommand_from test" -l log-format -d 'How it is written' -r -f -a "text\t''
json\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand rules; and __fish_seen_subcommand_from test" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c plainspan -n "__fish_plainspan_using_subcommand rules; and __fish_seen_subcommand_from test" -s V -l version -d 'Print version'
complete -c plainspan -n "__fish_plainspan_using_subcommand rules; and __fish_seen_subcommand_from fields" -l log-level -d 'How much the agent says of itself' -r -f -a "off\t''
error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand rules; and __fish_seen_subcommand_from fields" -l log-format -d 'How it is written' -r -f -a "text\t''
json\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand rules; and __fish_seen_subcommand_from fields" -s h -l help -d 'Print help'
complete -c plainspan -n "__fish_plainspan_using_subcommand rules; and __fish_seen_subcommand_from fields" -s V -l version -d 'Print version'
complete -c plainspan -n "__fish_plainspan_using_subcommand rules; and __fish_seen_subcommand_from help" -f -a "explain" -d 'Says which stack a transaction goes through, which rule decides its level, and which part of it'
complete -c plainspan -n "__fish_plainspan_using_subcommand rules; and __fish_seen_subcommand_from help" -f -a "test" -d 'Checks the outcomes that are expected of a configuration\'s rules'
complete -c plainspan -n "__fish_plainspan_using_subcommand rules; and __fish_seen_subcommand_from help" -f -a "fields" -d 'Lists the fields that rules can ask for, with type, when each is known, and meaning'
complete -c plainspan -n "__fish_plainspan_using_subcommand rules; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and not __fish_seen_subcommand_from get list export report help" -l log-level -d 'How much the agent says of itself' -r -f -a "off\t''
error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and not __fish_seen_subcommand_from get list export report help" -l log-format -d 'How it is written' -r -f -a "text\t''
json\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and not __fish_seen_subcommand_from get list export report help" -s h -l help -d 'Print help'
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and not __fish_seen_subcommand_from get list export report help" -s V -l version -d 'Print version'
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and not __fish_seen_subcommand_from get list export report help" -f -a "get" -d 'Shows what a payload link names'
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and not __fish_seen_subcommand_from get list export report help" -f -a "list" -d 'Lists transactions that a store holds'
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and not __fish_seen_subcommand_from get list export report help" -f -a "export" -d 'Writes many transactions in one archive, as they are read'
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and not __fish_seen_subcommand_from get list export report help" -f -a "report" -d 'Counts transactions by service, endpoint, or the value of a header'
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and not __fish_seen_subcommand_from get list export report help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from get" -s c -l config -d 'Configuration whose object stores the link may belong to' -r -F
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from get" -l digest -d 'What the document\'s SHA-256 must be: `plainspan.payload.digest`. Checked by itself where the link has it' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from get" -l body -d 'A body alone, without its content codings, byte for byte' -r -f -a "request\t''
response\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from get" -l log-level -d 'How much the agent says of itself' -r -f -a "off\t''
error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from get" -l log-format -d 'How it is written' -r -f -a "text\t''
json\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from get" -l json -d 'The document, with its bodies in it'
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from get" -l har -d 'A HAR 1.2 archive with one entry: for browsers\' developer tools, Playwright, k6'
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from get" -l curl -d 'A line for a POSIX shell that sends the request again with curl; what is not as it was goes to stderr'
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from get" -l headers -d 'Start lines and headers alone'
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from get" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from get" -s V -l version -d 'Print version'
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from list" -s c -l config -d 'Configuration whose object stores are looked at' -r -F
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from list" -l store -d 'The store to look at; the first one otherwise' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from list" -l service -d 'Of this service: NAME or NAMESPACE/NAME' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from list" -l since -d 'Begun at or after this time: RFC 3339, or how long ago (15m, 2h, 1d)' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from list" -l until -d 'Begun at or before this time' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from list" -l status -d 'With one of these: 404, 5xx, 400-499, none where no response was seen' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from list" -l method -d 'With this method' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from list" -l host -d 'A pattern: `*` is anything' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from list" -l path -d 'A pattern: `*` is anything, `/` too' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from list" -l role -d 'Seen at this end' -r -f -a "client\t''
server\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from list" -l level -d 'Kept at this level' -r -f -a "summary\t''
headers\t''
full\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from list" -l trace -d 'Of this trace' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from list" -l min-duration -d 'That took this long or longer (250ms, 2s)' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from list" -l limit -d 'Transactions at the most' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from list" -l log-level -d 'How much the agent says of itself' -r -f -a "off\t''
error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from list" -l log-format -d 'How it is written' -r -f -a "text\t''
json\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from list" -l json -d 'A JSON object a line'
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from export" -s c -l config -d 'Configuration whose object stores are looked at' -r -F
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from export" -l store -d 'The store to look at; the first one otherwise' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from export" -l service -d 'Of this service: NAME or NAMESPACE/NAME' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from export" -l since -d 'Begun at or after this time: RFC 3339, or how long ago (15m, 2h, 1d)' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from export" -l until -d 'Begun at or before this time' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from export" -l status -d 'With one of these: 404, 5xx, 400-499, none where no response was seen' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from export" -l method -d 'With this method' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from export" -l host -d 'A pattern: `*` is anything' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from export" -l path -d 'A pattern: `*` is anything, `/` too' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from export" -l role -d 'Seen at this end' -r -f -a "client\t''
server\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from export" -l level -d 'Kept at this level' -r -f -a "summary\t''
headers\t''
full\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from export" -l trace -d 'Of this trace' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from export" -l min-duration -d 'That took this long or longer (250ms, 2s)' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from export" -l limit -d 'Transactions at the most' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from export" -l log-level -d 'How much the agent says of itself' -r -f -a "off\t''
error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from export" -l log-format -d 'How it is written' -r -f -a "text\t''
json\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from export" -l har -d 'HAR 1.2'
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from export" -l json -d 'A document a line, with its bodies in it'
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help'
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from export" -s V -l version -d 'Print version'
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from report" -s c -l config -d 'Configuration whose object stores are looked at' -r -F
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from report" -l store -d 'The store to look at; the first one otherwise' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from report" -l service -d 'Of this service: NAME or NAMESPACE/NAME' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from report" -l since -d 'Begun at or after this time: RFC 3339, or how long ago (15m, 2h, 1d)' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from report" -l until -d 'Begun at or before this time' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from report" -l status -d 'With one of these: 404, 5xx, 400-499, none where no response was seen' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from report" -l method -d 'With this method' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from report" -l host -d 'A pattern: `*` is anything' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from report" -l path -d 'A pattern: `*` is anything, `/` too' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from report" -l role -d 'Seen at this end' -r -f -a "client\t''
server\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from report" -l level -d 'Kept at this level' -r -f -a "summary\t''
headers\t''
full\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from report" -l trace -d 'Of this trace' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from report" -l min-duration -d 'That took this long or longer (250ms, 2s)' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from report" -l limit -d 'Transactions at the most' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from report" -l by -d 'service, endpoint, host, method, status, or the name of a header; response:NAME for a header of the response' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from report" -l top -d 'Rows at the most, the largest first' -r
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from report" -l log-level -d 'How much the agent says of itself' -r -f -a "off\t''
error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from report" -l log-format -d 'How it is written' -r -f -a "text\t''
json\t''"
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from report" -l json -d 'A JSON object a line, all rows'
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from report" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from report" -s V -l version -d 'Print version'
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from help" -f -a "get" -d 'Shows what a payload link names'
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from help" -f -a "list" -d 'Lists transactions that a store holds'
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from help" -f -a "export" -d 'Writes many transactions in one archive, as they are read'
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from help" -f -a "report" -d 'Counts transactions by service, endpoint, or the value of a header'
complete -c plainspan -n "__fish_plainspan_using_subcommand payload; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c plainspan -n "__fish_plainspan_using_subcommand help; and not __fish_seen_subcommand_from run check doctor reload tail rules payload help" -f -a "run" -d 'Captures, until it is told to stop (SIGTERM, SIGINT)'
complete -c plainspan -n "__fish_plainspan_using_subcommand help; and not __fish_seen_subcommand_from run check doctor reload tail rules payload help" -f -a "check" -d 'Reads a configuration and says everything that is wrong with it'
complete -c plainspan -n "__fish_plainspan_using_subcommand help; and not __fish_seen_subcommand_from run check doctor reload tail rules payload help" -f -a "doctor" -d 'Says whether this host can run the agent, and which processes are captured and how, or why not'
complete -c plainspan -n "__fish_plainspan_using_subcommand help; and not __fish_seen_subcommand_from run check doctor reload tail rules payload help" -f -a "reload" -d 'Makes the running agent read its configuration again, as SIGHUP does'
complete -c plainspan -n "__fish_plainspan_using_subcommand help; and not __fish_seen_subcommand_from run check doctor reload tail rules payload help" -f -a "tail" -d 'Shows transactions as they come: a live view on a terminal, else a line for each'
complete -c plainspan -n "__fish_plainspan_using_subcommand help; and not __fish_seen_subcommand_from run check doctor reload tail rules payload help" -f -a "rules" -d 'Says what the rules of a configuration make of a transaction'
complete -c plainspan -n "__fish_plainspan_using_subcommand help; and not __fish_seen_subcommand_from run check doctor reload tail rules payload help" -f -a "payload" -d 'Reads payloads back: what a link names, lists, reports, archives'
complete -c plainspan -n "__fish_plainspan_using_subcommand help; and not __fish_seen_subcommand_from run check doctor reload tail rules payload help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c plainspan -n "__fish_plainspan_using_subcommand help; and __fish_seen_subcommand_from rules" -f -a "explain" -d 'Says which stack a transaction goes through, which rule decides its level, and which part of it'
complete -c plainspan -n "__fish_plainspan_using_subcommand help; and __fish_seen_subcommand_from rules" -f -a "test" -d 'Checks the outcomes that are expected of a configuration\'s rules'
complete -c plainspan -n "__fish_plainspan_using_subcommand help; and __fish_seen_subcommand_from rules" -f -a "fields" -d 'Lists the fields that rules can ask for, with type, when each is known, and meaning'
complete -c plainspan -n "__fish_plainspan_using_subcommand help; and __fish_seen_subcommand_from payload" -f -a "get" -d 'Shows what a payload link names'
complete -c plainspan -n "__fish_plainspan_using_subcommand help; and __fish_seen_subcommand_from payload" -f -a "list" -d 'Lists transactions that a store holds'
complete -c plainspan -n "__fish_plainspan_using_subcommand help; and __fish_seen_subcommand_from payload" -f -a "export" -d 'Writes many transactions in one archive, as they are read'
complete -c plainspan -n "__fish_plainspan_using_subcommand help; and __fish_seen_subcommand_from payload" -f -a "report" -d 'Counts transactions by service, endpoint, or the value of a header'
