-- Answers the ranking of a window; sums its buckets first, unless that was done a moment ago. The same as `Board::top`.
-- KEYS: the ranking, then its buckets
-- ARGV: how long a ranking lasts (ms; 0: it is not kept), its length, then for each bucket what a view in it is worth (in 2^-20)
-- Stored: a sorted set of scores in views.
-- Reply: items and scores by turns, in no order
-- Cost: one ZRANGE of 100 items; without a ranking a ZUNIONSTORE of at most 30 buckets with 1,250 items, and a ZADD of 100.
local ranking, lasts, length = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
if lasts > 0 then
  local found = redis.call('ZRANGE', ranking, 0, -1, 'WITHSCORES')
  if #found > 0 then return found end
end

-- Negative worths put the greatest sum first and, among equals, the items in their order.
local command = { 'ZUNIONSTORE', ranking, #KEYS - 1 }
for n = 2, #KEYS do command[#command + 1] = KEYS[n] end
command[#command + 1] = 'WEIGHTS'
for n = 2, #KEYS do command[#command + 1] = '-' .. ARGV[n + 1] end
redis.call(unpack(command))
local best = redis.call('ZRANGE', ranking, 0, length - 1, 'WITHSCORES')
redis.call('UNLINK', ranking)
if #best == 0 then return best end
local added = { 'ZADD', ranking }
for n = 1, #best, 2 do
  best[n + 1] = string.format('%.17g', -tonumber(best[n + 1]) / 1048576)
  added[#added + 1], added[#added + 2] = best[n + 1], best[n]
end
if lasts > 0 then
  redis.call(unpack(added))
  redis.call('PEXPIRE', ranking, lasts)
end
return best
