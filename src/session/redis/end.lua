-- Ends a session, and tells all instances.
-- KEYS: session
-- ARGV: the hash of the secret that opens it ('' = whoever asks may), the channel, the session's id, how long its id
--       stays taken when ended by its secret (ms, 0 = not)
-- Reply: {0} nothing ended, {1} ended, {1, value} ended by its secret, {2, value} of another format: left alone
-- Cost: without a secret one GETRANGE, else two and one GET; one DEL or SET, one PUBLISH. No JSON is decoded.
if ARGV[1] == '' then
  -- The mark of a session that has ended stays, whatever else stands there goes.
  local mark = redis.pcall('GETRANGE', KEYS[1], 0, 20)
  if mark == '{"towerkeep":"ended"}' or redis.call('DEL', KEYS[1]) == 0 then return {0} end
  redis.call('PUBLISH', ARGV[2], ARGV[3])
  return {1}
end
local header = redis.call('GETRANGE', KEYS[1], 0, 365)
if header == '' then return {0} end
local seen, idle = tonumber(string.sub(header, 270, 285)), tonumber(string.sub(header, 296, 311))
local ends = tonumber(string.sub(header, 322, 337))
if string.sub(header, 1, 17) ~= '{"towerkeep":"1",' or not (seen and idle and ends) then
  return {2, redis.call('GET', KEYS[1])}
end
if now >= math.min(ends, seen + idle) then return {0} end
local grace = tonumber(string.sub(header, 215, 230)) or 0
local is_current = string.sub(header, 66, 129) == ARGV[1]
local is_previous = string.sub(header, 140, 203) == ARGV[1] and now < grace
if not (is_current or is_previous) then return {0} end
local value = redis.call('GET', KEYS[1])
if tonumber(ARGV[4]) > 0 then
  redis.call('SET', KEYS[1], '{"towerkeep":"ended"}', 'PX', ARGV[4])
else
  redis.call('DEL', KEYS[1])
end
redis.call('PUBLISH', ARGV[2], ARGV[3])
return {1, value}
