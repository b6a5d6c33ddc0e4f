-- Replaces one state of a session. A session that is gone or expired stays so.
-- KEYS: session
-- ARGV: generation, version (10 digits each), the new value, its time to live (ms)
-- Reply: {0} gone, {1} saved, {2, value} another state (or format) is stored
-- Cost: one GETRANGE, one SET; one GET on a conflict. No JSON is decoded.
local header = redis.call('GETRANGE', KEYS[1], 0, 365)
if header == '' then return {0} end
if string.sub(header, 1, 17) ~= '{"towerkeep":"1",' then return {2, redis.call('GET', KEYS[1])} end
local seen, idle = tonumber(string.sub(header, 270, 285)), tonumber(string.sub(header, 296, 311))
local ends = tonumber(string.sub(header, 322, 337))
if not (seen and idle and ends) then return {2, redis.call('GET', KEYS[1])} end
if now >= math.min(ends, seen + idle) then return {0} end
if string.sub(header, 25, 34) ~= ARGV[1] or string.sub(header, 44, 53) ~= ARGV[2] then
  return {2, redis.call('GET', KEYS[1])}
end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
return {1}
