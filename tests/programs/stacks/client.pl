# Client of Perl: carries out a plan of calls (see ../client.py) with LWP over IO::Socket::SSL, one connection for each list.
#   client.pl PLAN.json
use strict;
use warnings;
use JSON::PP;
use LWP::UserAgent;

sub content { my ($path) = @_; open(my $file, "<:raw", $path) or die "$path: $!"; local $/; return scalar <$file>; }

my $plan = decode_json(content($ARGV[0]));
for my $calls (@{ $plan->{connections} }) {
    my $agent = LWP::UserAgent->new(keep_alive => 1, ssl_opts => { SSL_ca_file => $plan->{ca} }, timeout => 30);
    for my $call (@$calls) {
        my $request = HTTP::Request->new($call->{method}, $plan->{base} . $call->{target}, [ %{ $call->{headers} } ]);
        if (defined $call->{body}) {
            $request->header("content-type" => "application/octet-stream");
            $request->content(content($call->{body}));
        }
        my $answer = $agent->request($request);
        open(my $out, ">:raw", "$plan->{out}/$call->{index}") or die $!;
        print $out $answer->content;
        close($out);
        print encode_json({ index => $call->{index}, status => $answer->code + 0, local_port => 0 }), "\n";
    }
}
