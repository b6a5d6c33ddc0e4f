-- Decides one or more checks, each of several policies of one client: all admit and are charged, or nothing is. Checks
-- of one call are decided one after the other, each by what those before it left.
-- The same decisions as `decide.rs`; what it means for the client is worked out there, from what is returned.
-- KEYS: one for each policy of each check.
-- ARGV: for each check its cost and how many policies it has (at least 1), then for each policy six:
--   a window: 'w', limit, per (us), grain (us), 0, 0
--   a bucket: 'b', limit, price of the cost and room of the bucket, each as whole us and a rest in parts of limit
-- Stored: a window is a ZSET, 'w1:{total}' at -1 and for each entry '{time}:{count}' (or '{time}' for one) at its time;
--   a bucket is a string, when it is full again, '{us}' or '{us}:{rest}'. Anything else is replaced.
-- Reply: now, how many values were replaced, then for each check whether all was charged, and for each policy three:
--   a window: used, time of its oldest entry, time of the entry that must leave first (0: none)
--   a bucket: full at (us), rest, 0
-- Cost: O(log n) with n <= 121; a window takes 2 commands to read and 3 to charge, a bucket 1 and 1. Every key has a TTL.
local MAX = 512
local cost
local healed = 0

local function heal(key)
  redis.call('UNLINK', key)
  healed = healed + 1
end

-- What a read answers; nothing when the key holds another type. Any other error ends the script.
local function read(command, key, ...)
  local answer = redis.pcall(command, key, ...)
  if type(answer) ~= 'table' or not answer.err then return answer end
  if string.find(answer.err, 'WRONGTYPE', 1, true) then return nil end
  return redis.call(command, key, ...)
end

local function number(text)
  return text and #text <= 16 and tonumber(text) or nil
end

local function count_of(member)
  if string.match(member, '^%d+$') then return 1 end
  return number(string.match(member, '^%d+:(%d+)$'))
end

local function entry(at, count)
  local text = string.format('%.0f', at)
  return count == 1 and text or string.format('%s:%.0f', text, count)
end

-- Milliseconds; small enough that Redis writes the number whole.
local function ttl(us)
  return math.ceil(us / 1000) + 1000
end

-- At most so many entries from..to by time, and their sum; nothing when one is not ours.
local function entries(key, from, to, most)
  local found = redis.call('ZRANGEBYSCORE', key, from, to, 'WITHSCORES', 'LIMIT', 0, most)
  local list, sum = {}, 0
  for i = 1, #found, 2 do
    local count = count_of(found[i])
    if not count then return nil end
    sum = sum + count
    list[#list + 1] = { member = found[i], at = tonumber(found[i + 1]), count = count }
  end
  if #list == MAX then return nil end
  return list, sum
end

-- The clock was set back: what lies after now happened now.
local function clip(key, per)
  local at = string.format('%.0f', now)
  local future, sum = entries(key, at, '+inf', MAX)
  if not future then return false end
  redis.call('ZREMRANGEBYSCORE', key, at, '+inf')
  redis.call('ZADD', key, at, entry(now, sum))
  redis.call('PEXPIRE', key, ttl(per))
  return true
end

-- What has left the window, of which the head shows the usual case of one; then the oldest that has not.
local function split(key, head, floor)
  local first, second = tonumber(head[4]), tonumber(head[6])
  if first > floor then return {}, 0, first end
  if not second or second > floor then
    local count = count_of(head[3])
    return count and { head[3] }, count, second
  end
  local to = string.format('%.0f', floor)
  local list, sum = entries(key, 0, to, MAX)
  if not list then return nil end
  local gone = {}
  for i, one in ipairs(list) do gone[i] = one.member end
  local live = redis.call('ZRANGEBYSCORE', key, '(' .. to, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  return gone, sum, tonumber(live[2])
end

-- The entry whose leaving frees what is over the limit.
local function room(key, floor, over)
  local list = entries(key, '(' .. string.format('%.0f', floor), '+inf', math.min(over, MAX))
  for _, one in ipairs(list or {}) do
    over = over - one.count
    if over <= 0 then return one.at end
  end
  return 0
end

-- The window as it is stored; nothing when it is not ours.
local function load_window(key, policy)
  local head = read('ZRANGE', key, 0, 2, 'WITHSCORES')
  if not head then return nil end
  if #head == 0 then return { used = 0, oldest = 0, room = 0, stale = {} } end
  local total = number(string.match(head[1], '^w1:(%d+)$'))
  local last = #head == 6 and redis.call('ZRANGE', key, -1, -1, 'WITHSCORES') or head
  local newest = { member = last[#last - 1], at = tonumber(last[#last]) }
  newest.count = count_of(newest.member)
  if not total or not newest.count then return nil end
  if newest.at > now then return clip(key, policy[3]) and load_window(key, policy) or nil end
  local floor = now - policy[3]
  local gone, left, oldest = split(key, head, floor)
  if not gone or left > total or (left == total) ~= (oldest == nil) then return nil end
  local window = { used = total - left, oldest = oldest or 0, room = 0, stale = gone, newest = oldest and newest }
  window.stale[#gone + 1] = head[1]
  local over = window.used + cost - policy[2]
  if over > 0 and oldest then window.room = room(key, floor, over) end
  return window
end

local function read_window(key, policy)
  local window = load_window(key, policy)
  if window then return window end
  heal(key)
  return { used = 0, oldest = 0, room = 0, stale = {} }
end

local function charge_window(key, policy, window)
  local grain, newest, stale, count = policy[4], window.newest, window.stale, cost
  if newest and newest.at - math.fmod(newest.at, grain) == now - math.fmod(now, grain) then
    stale[#stale + 1] = newest.member
    count = count + newest.count
  end
  if #stale > 0 then redis.call('ZREM', key, unpack(stale)) end
  redis.call('ZADD', key, -1, string.format('w1:%.0f', window.used + cost), string.format('%.0f', now), entry(now, count))
  redis.call('PEXPIRE', key, ttl(policy[3]))
end

local function store_bucket(key, full_at, rest)
  local value = string.format('%.0f', full_at)
  if rest > 0 then value = value .. string.format(':%.0f', rest) end
  redis.call('SET', key, value, 'PX', ttl(full_at - now))
end

local function read_bucket(key, policy)
  local limit, room, room_rest = policy[2], policy[5], policy[6]
  local value = read('GET', key)
  if value == nil then heal(key) end
  if not value then return { full_at = now, rest = 0 } end
  local whole, colon, part = string.match(value, '^(%d+)(:?)(%d*)$')
  local full_at, rest = number(whole), colon == '' and 0 or number(part)
  if not full_at or not rest then heal(key) return { full_at = now, rest = 0 } end
  if rest >= limit then full_at, rest = full_at + 1, 0 end
  if full_at < now then return { full_at = now, rest = 0 } end
  local missing = full_at - now
  if missing > room or (missing == room and rest > room_rest) then
    full_at, rest = now + room, room_rest
    store_bucket(key, full_at, rest)
  end
  return { full_at = full_at, rest = rest }
end

-- When the bucket is full again once the cost is taken.
local function taken(policy, bucket)
  local full_at, rest = bucket.full_at + policy[3], bucket.rest + policy[4]
  if rest >= policy[2] then full_at, rest = full_at + 1, rest - policy[2] end
  return full_at, rest
end

local function admits(policy, state)
  if policy[1] then return cost == 0 or state.used + cost <= policy[2] end
  local full_at, rest = taken(policy, state)
  local missing = full_at - now
  return missing < policy[5] or (missing == policy[5] and rest <= policy[6])
end

-- { whether it is a window, limit, then as they stand in ARGV }: made at once, because a table that grows costs more.
local function read_policy(at)
  local limit, a, b = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  return { ARGV[at] == 'w', limit, a, b, tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5]) }
end

local function charge(key, policy, state)
  if policy[1] then
    charge_window(key, policy, state)
  else
    store_bucket(key, taken(policy, state))
  end
end

-- One check: its policies' arguments begin `at`, its keys after the first `skipped`.
local function check(reply, at, skipped, count)
  local policies, states, admitted = {}, {}, 1
  for i = 1, count do
    local key, policy = KEYS[skipped + i], read_policy(at + (i - 1) * 6)
    policies[i] = policy
    states[i] = policy[1] and read_window(key, policy) or read_bucket(key, policy)
    if not admits(policy, states[i]) then admitted = 0 end
  end
  reply[#reply + 1] = admitted
  for i, state in ipairs(states) do
    if admitted == 1 and cost > 0 then charge(KEYS[skipped + i], policies[i], state) end
    local is_window = policies[i][1]
    reply[#reply + 1] = is_window and state.used or state.full_at
    reply[#reply + 1] = is_window and state.oldest or state.rest
    reply[#reply + 1] = is_window and state.room or 0
  end
end

local reply, at, skipped = { now, 0 }, 1, 0
while skipped < #KEYS do
  cost = tonumber(ARGV[at])
  local count = tonumber(ARGV[at + 1])
  check(reply, at + 2, skipped, count)
  at, skipped = at + 2 + count * 6, skipped + count
end
reply[2] = healed
return reply
