# Client of Ruby's net/http: carries out a plan of calls (see ../client.py), one connection for each list.
#   client.rb PLAN.json
require "json"
require "net/http"

plan = JSON.parse(File.read(ARGV[0]))
uri = URI(plan["base"])
plan["connections"].each do |calls|
  http = Net::HTTP.new(uri.host, uri.port, nil)
  http.use_ssl = true
  http.ca_file = plan["ca"]
  http.keep_alive_timeout = 30
  http.start do
    calls.each do |call|
      request = Net::HTTPGenericRequest.new(call["method"], !call["body"].nil?, true, call["target"])
      call["headers"].each { |name, value| request[name] = value }
      request["accept-encoding"] = "identity"
      if call["body"]
        request["content-type"] = "application/octet-stream"
        request.body = File.binread(call["body"])
      end
      answer = http.request(request)
      port = http.instance_variable_get(:@socket).io.io.local_address.ip_port
      File.binwrite("#{plan["out"]}/#{call["index"]}", answer.body)
      puts JSON.generate("index" => call["index"], "status" => answer.code.to_i, "local_port" => port)
    end
  end
end
