-- Takes one item out of a board's rankings and buckets.
-- KEYS: the rankings and all buckets that count
-- ARGV: item
-- Reply: from how many it was taken
-- Cost: one ZREM for each of 57 keys.
local taken = 0
for _, key in ipairs(KEYS) do taken = taken + redis.call('ZREM', key, ARGV[1]) end
return taken
