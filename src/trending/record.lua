-- Counts views of one item. The same as `Board::record`.
-- KEYS: the bucket of the hour, the bucket of the day
-- ARGV: item, views, how many items a cut leaves, how many bring one about, time to live of each bucket (ms)
-- Reply: 1
-- Cost: for each bucket one ZINCRBY, one PEXPIRE, one or two ZCARD; a cut of some 250 items for as many new ones.

-- A value that is not ours is found before anything is written.
for _, key in ipairs(KEYS) do redis.call('ZCARD', key) end
for n, key in ipairs(KEYS) do
  redis.call('ZINCRBY', key, ARGV[2], ARGV[1])
  redis.call('PEXPIRE', key, ARGV[4 + n])
  local size = redis.call('ZCARD', key)
  if size > tonumber(ARGV[4]) then redis.call('ZREMRANGEBYRANK', key, 0, size - tonumber(ARGV[3]) - 1) end
end
return 1
