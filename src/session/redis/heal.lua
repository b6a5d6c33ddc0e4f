-- Makes room for a user's index where another program's value stands in its place.
-- KEYS: index
-- ARGV: none of its own
-- Reply: 1 where something was removed, else 0
-- Cost: one TYPE, at most one DEL
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'zset' or kind == 'none' then return 0 end
return redis.call('DEL', KEYS[1])
