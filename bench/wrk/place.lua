-- POST /v1.0/calls, each to a number of its own. Arguments: prefix of the numbers, the source number.
local prefix, source, count = "", "", 0

function init(arguments)
  prefix, source = arguments[1], arguments[2]
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
end

function request()
  count = count + 1
  return wrk.format(nil, nil, nil, string.format(
    '{"source":{"type":"tel","target":"%s"},"destinations":[{"type":"tel","target":"%s%06d"}],"actions":[{"type":"hangup"}]}',
    source, prefix, count))
end
