-- Gives back what check.lua charged. What has left its window, or is not ours, stays as it is.
-- KEYS: one for each charge.
-- ARGV: for each charge six:
--   a window: 'w', limit, per (us), grain (us), when it was charged (us), how much
--   a bucket: 'b', limit, price as whole us and a rest in parts of limit, 0, 0
-- Reply: how many were given back.
-- Cost: O(log n) with n <= 121; at most 6 commands for each charge. A TTL stays or is set anew.
local function refund_window(key, per, grain, at, cost)
  local head = redis.pcall('ZRANGE', key, 0, 0)
  if head.err or #head == 0 then return 0 end
  local total = tonumber(string.match(head[1], '^w1:(%d+)$'))
  local found = redis.call('ZRANGEBYSCORE', key, string.format('%.0f', at), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if not total or #found == 0 then return 0 end
  local score = tonumber(found[2])
  if score - math.fmod(score, grain) ~= at - math.fmod(at, grain) or score <= now - per then return 0 end
  local count = string.match(found[1], '^%d+$') and 1 or tonumber(string.match(found[1], '^%d+:(%d+)$'))
  if not count then return 0 end
  local given = math.min(count, cost)
  if total - given <= 0 then redis.call('UNLINK', key) return 1 end
  -- Added before anything is removed: an emptied key would lose its TTL.
  redis.call('ZADD', key, -1, string.format('w1:%.0f', total - given))
  redis.call('ZREM', key, found[1], head[1])
  if count > given then
    local text = string.format('%.0f', score)
    if count - given > 1 then text = text .. string.format(':%.0f', count - given) end
    redis.call('ZADD', key, found[2], text)
  end
  return 1
end

local function refund_bucket(key, limit, price, price_rest)
  local value = redis.pcall('GET', key)
  if not value or type(value) == 'table' then return 0 end
  local whole, rest = string.match(value, '^(%d+)$'), '0'
  if not whole then whole, rest = string.match(value, '^(%d+):(%d+)$') end
  if not whole or #whole > 16 then return 0 end
  local full_at, left = tonumber(whole), tonumber(rest)
  if left >= limit then full_at, left = full_at + 1, 0 end
  full_at, left = full_at - price, left - price_rest
  if left < 0 then full_at, left = full_at - 1, left + limit end
  if full_at < now or (full_at == now and left == 0) then redis.call('UNLINK', key) return 1 end
  local text = string.format('%.0f', full_at)
  if left > 0 then text = text .. string.format(':%.0f', left) end
  redis.call('SET', key, text, 'PX', string.format('%.0f', math.ceil((full_at - now) / 1000) + 1000))
  return 1
end

local given = 0
for i, key in ipairs(KEYS) do
  local at = (i - 1) * 6
  local n = {}
  for k = 2, 6 do n[k] = tonumber(ARGV[at + k]) end
  if ARGV[at + 1] == 'w' then
    given = given + refund_window(key, n[3], n[4], n[5], n[6])
  else
    given = given + refund_bucket(key, n[2], n[3], n[4])
  end
end
return given
