<?php
// Client of PHP: carries out a plan of calls (see ../client.py).
//   client.php curl|streams PLAN.json      curl keeps a connection, streams opens one a call

function with_curl($plan, $calls) {
    $curl = curl_init();
    foreach ($calls as $call) {
        curl_reset($curl);
        $headers = ["expect:"];
        foreach ($call["headers"] as $name => $value) $headers[] = "$name: $value";
        curl_setopt_array($curl, [
            CURLOPT_URL => $plan["base"] . $call["target"], CURLOPT_CAINFO => $plan["ca"], CURLOPT_RETURNTRANSFER => true,
            CURLOPT_HTTP_VERSION => CURL_HTTP_VERSION_1_1, CURLOPT_TIMEOUT => 30, CURLOPT_PROXY => "",
        ]);
        if ($call["body"] !== null) {
            $headers[] = "content-type: application/octet-stream";
            curl_setopt($curl, CURLOPT_POSTFIELDS, file_get_contents($call["body"]));
        }
        curl_setopt($curl, CURLOPT_HTTPHEADER, $headers);
        $body = curl_exec($curl);
        if ($body === false) exit(curl_error($curl));
        report($plan, $call, curl_getinfo($curl, CURLINFO_RESPONSE_CODE), $body, curl_getinfo($curl, CURLINFO_LOCAL_PORT));
    }
}

function with_streams($plan, $calls) {
    foreach ($calls as $call) {
        $head = "";
        foreach ($call["headers"] as $name => $value) $head .= "$name: $value\r\n";
        $http = ["method" => $call["method"], "header" => $head, "protocol_version" => 1.1, "timeout" => 30];
        if ($call["body"] !== null) {
            $http["header"] .= "content-type: application/octet-stream\r\n";
            $http["content"] = file_get_contents($call["body"]);
        }
        $context = stream_context_create(["http" => $http, "ssl" => ["cafile" => $plan["ca"]]]);
        $body = file_get_contents($plan["base"] . $call["target"], false, $context);
        if ($body === false) exit("no answer");
        report($plan, $call, (int) explode(" ", $http_response_header[0])[1], $body, 0);
    }
}

function report($plan, $call, $status, $body, $port) {
    file_put_contents($plan["out"] . "/" . $call["index"], $body);
    echo json_encode(["index" => $call["index"], "status" => $status, "local_port" => $port]), "\n";
}

$plan = json_decode(file_get_contents($argv[2]), true);
foreach ($plan["connections"] as $calls) $argv[1] === "curl" ? with_curl($plan, $calls) : with_streams($plan, $calls);
