-- Marks a session as used now.
-- KEYS: session
-- ARGV: generation (10 digits)
-- Reply: 1, or 0 where it is gone, expired, of another generation or of another format
-- Cost: one GETRANGE, one SETRANGE, one PEXPIRE
local header = redis.call('GETRANGE', KEYS[1], 0, 365)
if string.sub(header, 1, 17) ~= '{"towerkeep":"1",' or string.sub(header, 25, 34) ~= ARGV[1] then return 0 end
local seen, idle = tonumber(string.sub(header, 270, 285)), tonumber(string.sub(header, 296, 311))
local ends = tonumber(string.sub(header, 322, 337))
if not (seen and idle and ends) or now >= math.min(ends, seen + idle) then return 0 end
local used = math.max(seen, now)
redis.call('SETRANGE', KEYS[1], 269, string.format('%016.0f', used))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil((math.min(ends, used + idle) - now) / 1000)))
return 1
