-- Purges in the order of events, and tells an instance of the purges that it has not heard of.
-- KEYS: the record, a sorted set: tag -> number of its last purge. The member boot:<id> names the record; its score, the
--   lowest, is the floor: whatever is older counts as purged.
-- ARGV: channel, an id for a new record, the record the instance knows, its last number there, 'all' or 'tags',
--   how many tags are remembered, tag..., deadline, now
-- Reply: {id, floor, last number, {tag, number, ...}}
-- Cost: O(log n) for each tag and each tag told; once in some thousand purges the older half of the tags is removed.
local key = KEYS[1]
local low = redis.pcall('ZRANGE', key, 0, 0, 'WITHSCORES')
if low.err or not low[1] or string.sub(low[1], 1, 5) ~= 'boot:' then
  redis.call('DEL', key)
  redis.call('ZADD', key, 0, 'boot:' .. ARGV[2])
  low = { 'boot:' .. ARGV[2], '0' }
end
local boot, floor = string.sub(low[1], 6), tonumber(low[2])
local last = tonumber(redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2])
local first_tag, last_tag = 7, #ARGV - 2

local function raise(to)
  floor = to
  redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', floor))
  redis.call('ZADD', key, string.format('%.0f', floor), 'boot:' .. boot)
end

if ARGV[5] == 'all' then
  last = last + 1
  raise(last)
end
for i = first_tag, last_tag do
  last = last + 1
  redis.call('ZADD', key, string.format('%.0f', last), ARGV[i])
end
local most = tonumber(ARGV[6])
if redis.call('ZCARD', key) - 1 > most then raise(last - math.floor(most / 2)) end
if ARGV[5] == 'all' or last_tag >= first_tag then redis.call('PUBLISH', ARGV[1], boot .. ':' .. string.format('%.0f', last)) end

local since = ARGV[3] == boot and '(' .. ARGV[4] or '-inf'
local told = redis.call('ZRANGEBYSCORE', key, since, '+inf', 'WITHSCORES')
return { boot, string.format('%.0f', floor), string.format('%.0f', last), told }
