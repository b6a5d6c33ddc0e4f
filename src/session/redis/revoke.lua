-- Marks that all sessions of a user are revoked but one; the mark grows with each call, whatever the clock does.
-- KEYS: mark
-- ARGV: how long it is kept (ms), the session that stays ('' = none), when it was ('' = now; an older mark stays)
-- Reply: 1
-- Cost: one GET, one SET
-- A foreign value, of whatever type, is replaced.
local stored = redis.pcall('GET', KEYS[1])
local old = type(stored) == 'string' and tonumber(string.match(stored, '^%d+')) or 0
local mark = math.max(now, old + 1)
if ARGV[3] ~= '' then
  mark = tonumber(ARGV[3])
  if mark <= old then return 1 end
end
redis.call('SET', KEYS[1], string.format('%.0f', mark) .. ' ' .. ARGV[2], 'PX', ARGV[1])
return 1
