-- Stands before every script of ours.
-- KEYS: none of its own.
-- ARGV: ..., deadline (us of server time, 0 = none), now (us, '' = TIME)
-- Sets `now`, in microseconds. Past the deadline nothing is done: the caller has gone and acted without us.
-- Reply then: the error `LATE <TIME>`, by which the caller sets its idea of our clock right.
-- Cost: one TIME.
local now
do
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
  local deadline = tonumber(ARGV[#ARGV - 1])
  if deadline > 0 and now > deadline then
    return redis.error_reply('LATE ' .. string.format('%.0f', now))
  end
  if ARGV[#ARGV] ~= '' then now = tonumber(ARGV[#ARGV]) end
end
