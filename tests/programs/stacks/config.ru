# What puma serves in the tests.
run(lambda do |env|
  size = env["rack.input"].read.bytesize
  [200, { "x-server" => "puma" }, ["#{env["REQUEST_METHOD"]} #{size} #{env["PATH_INFO"]}\n"]]
end)
