-- What wrk sends: every request of a pool file once, in its order. The file holds, for each request, its length in
-- eight digits and its bytes. When the pool is used up the load stops, and `sent` says so: nothing is sent twice.
local threads, pool = {}, {}
sent, size = 0, 0

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  local data = file:read("*a")
  file:close()
  local position = 1
  while position <= #data do
    local length = tonumber(data:sub(position, position + 7))
    size = size + 1
    pool[size] = data:sub(position + 8, position + 7 + length)
    position = position + 8 + length
  end
end

function request()
  sent = sent + 1
  if sent >= size then
    wrk.thread:stop()
  end
  return pool[math.min(sent, size)]
end

function done(summary, latency, _)
  local sent, size = 0, 0
  for _, thread in ipairs(threads) do
    sent, size = sent + thread:get("sent"), size + thread:get("size")
  end
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"acknowledged": %d, "sent": %d, "pool": %d, "seconds": %.6f, "p50": %.3f, "p99": %.3f, "p999": %.3f, '
      .. '"status": %d, "sockets": %d, "timeouts": %d}\n',
    summary.requests - errors.status, sent, size, summary.duration / 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency:percentile(99.9) / 1000,
    errors.status, errors.connect + errors.read + errors.write, errors.timeout
  ))
end
