-- Stands between the guard and each script of leaderboards: how one board is read and written.
-- KEYS: seven for each board: rows, mark, reached, scores, events, pending, lock.
-- ARGV: layout (`h` highest or `l` lowest first; ties `m` member, `f` first or `l` last to reach; `d` dense or `-`),
--   ranking (`o`, `c`, `d`), source (0 or 1), cap (0: none), retention of event ids (ms), then what the script adds.
-- Stored: rows is a ZSET by the score, negated where the highest stands first, so that ties ascend by member; with ties by
--   time its elements are 13 digits of milliseconds (inverted for the last to reach) and the member, and reached is a HASH
--   member -> digits. scores is a ZSET of the distinct scores (dense only). events is a ZSET of event ids by milliseconds.
--   mark is `1:{layout}:{e|f}`, empty or filled. pending is a LIST of what a rebuild must not miss. lock is a HASH: its token, and
--   how much there must be of pending and of what is being built, which tells if Redis has evicted some of it.
-- Reply: each script's own.
-- Cost: O(log n) for each command; no loop over members.
local layout, ranking, has_source = ARGV[1], ARGV[2], ARGV[3] == '1'
local cap, retention = tonumber(ARGV[4]), tonumber(ARGV[5])
local ties, is_dense = string.sub(layout, 2, 2), string.sub(layout, 3, 3) == 'd'
local sign = string.sub(layout, 1, 1) == 'h' and -1 or 1
local LARGEST_SUM, MOST_PENDING, LEFTOVER_MS, TRIM = 9007199254740992, 100000, 60000, 100
-- The mark of an empty board need not stay: one that is gone is made again, empty; with a source its events, too.
local EMPTY_MS = has_source and 86400000 or math.max(86400000, retention)
-- What 13 digits hold.
local LAST_MS = 9999999999999
local now_ms = math.floor(now / 1000)

local function text(number) return string.format('%.17g', number) end
local function ms(number) return string.format('%.0f', number) end
-- Adding 0 makes a positive zero of a negative one.
local function flip(score) return sign * score + 0 end

local function stamp_of(millis)
  millis = math.min(millis, LAST_MS)
  if ties == 'l' then millis = LAST_MS - millis end
  return string.format('%013.0f', millis)
end

local function board_at(n)
  local k = (n - 1) * 7
  return { rows = KEYS[k + 1], mark = KEYS[k + 2], reached = KEYS[k + 3], scores = KEYS[k + 4], events = KEYS[k + 5],
    pending = KEYS[k + 6], lock = KEYS[k + 7] }
end

local function data_keys(b)
  local keys = { b.rows }
  if ties ~= 'm' then keys[#keys + 1] = b.reached end
  if is_dense then keys[#keys + 1] = b.scores end
  return keys
end

-- 'filled', 'empty', 'lost', or 'other' for a board that is kept in another layout, or whose mark is not ours.
local function state_of(b)
  local mark = redis.pcall('GET', b.mark)
  if not mark then return 'lost' end
  if type(mark) == 'table' then return 'other' end
  local kind, fill = string.match(mark, '^1:(...):([ef])$')
  if kind ~= layout then return 'other' end
  local keys = data_keys(b)
  local there = redis.call('EXISTS', unpack(keys))
  if fill == 'e' and there == 0 then return 'empty' end
  return fill == 'f' and there == #keys and 'filled' or 'lost'
end

-- Writes the mark, before anything else: where memory is full this is refused, and then nothing has been changed.
local function mark(b, is_filled)
  local value = '1:' .. layout .. (is_filled and ':f' or ':e')
  if is_filled then redis.call('SET', b.mark, value) else redis.call('SET', b.mark, value, 'PX', EMPTY_MS) end
end

-- Lets a board of a period end.
local function expire(b, expires)
  if expires == '0' then return end
  redis.call('PEXPIREAT', b.mark, expires)
  for _, key in ipairs(data_keys(b)) do redis.call('PEXPIREAT', key, expires) end
  redis.call('PEXPIREAT', b.events, expires)
end

-- The stored score and the element of a member.
local function find(b, member)
  local element = member
  if ties ~= 'm' then
    local stamp = redis.call('HGET', b.reached, member)
    if not stamp then return nil end
    element = stamp .. member
  end
  local stored = redis.call('ZSCORE', b.rows, element)
  if stored then return tonumber(stored), element end
end

local function member_of(element)
  return ties == 'm' and element or string.sub(element, 14)
end

local function rank_of(b, stored, element)
  if ranking == 'o' then return redis.call('ZRANK', b.rows, element) + 1 end
  return redis.call('ZCOUNT', is_dense and b.scores or b.rows, '-inf', '(' .. text(stored)) + 1
end

local function is_known(b, event)
  local seen = redis.call('ZSCORE', b.events, event)
  return seen and tonumber(seen) > now_ms - retention
end

local function note(b, event)
  redis.call('ZADD', b.events, ms(now_ms), event)
  local old = redis.call('ZRANGEBYSCORE', b.events, '-inf', ms(now_ms - retention), 'LIMIT', 0, TRIM)
  if #old > 0 then redis.call('ZREM', b.events, unpack(old)) end
  if b.expires and b.expires ~= '0' then redis.call('PEXPIREAT', b.events, b.expires) end
end

local policies = {
  b = function(old, value) return old and old >= value and old or value end,
  w = function(old, value) return old and old <= value and old or value end,
  l = function(_, value) return value end,
  i = function(old, value) return old or value end,
  s = function(old, value) return (old or 0) + value end,
  r = function() return nil end,
}
policies.a = policies.s

-- Beyond 2^53 whole points are lost; a sum of 2^53 may have been rounded to it.
local function is_inexact(old, points, sum)
  local size = math.abs(sum)
  return size > LARGEST_SUM or (size == LARGEST_SUM and sum - old ~= points)
end

-- What an operation would do; nothing is written yet.
local function plan(b, op, member, value, event)
  local p = { outcome = 'recorded' }
  if not b.is_new then p.old, p.element = find(b, member) end
  p.new = p.old
  if op == 'a' and not b.is_new and is_known(b, event) then
    p.outcome = 'repeated'
    return p
  end
  local new = policies[op](p.old and flip(p.old), value)
  if (op == 's' or op == 'a') and is_inexact(p.old and flip(p.old) or 0, value, new) then
    p.outcome = 'overflow'
    return p
  end
  p.new = new and flip(new)
  if p.new == p.old then p.outcome = 'unchanged' end
  return p
end

-- Brings one member from its old place to its new one, or out of the board; in first, as full memory refuses only that.
local function move(b, member, p, stamp)
  local old = p.element
  p.element = p.new and (ties == 'm' and member or stamp .. member)
  if p.new then redis.call('ZADD', b.rows, text(p.new), p.element) end
  if old and old ~= p.element then redis.call('ZREM', b.rows, old) end
  if ties ~= 'm' then
    if p.new then redis.call('HSET', b.reached, member, stamp) else redis.call('HDEL', b.reached, member) end
  end
  if not is_dense then return end
  if p.old and redis.call('ZCOUNT', b.rows, text(p.old), text(p.old)) == 0 then
    redis.call('ZREM', b.scores, text(p.old))
  end
  if p.new then redis.call('ZADD', b.scores, text(p.new), text(p.new)) end
end

-- Takes out what stands below the cap, some at a time.
local function trim(b)
  if cap == 0 then return end
  local over = redis.call('ZRANGE', b.rows, cap, cap + TRIM - 1, 'WITHSCORES')
  for i = 1, #over, 2 do
    move(b, member_of(over[i]), { element = over[i], old = tonumber(over[i + 1]) })
  end
end

local function commit(b, op, member, event, p, stamp)
  if op == 'a' and p.outcome ~= 'repeated' then note(b, event) end
  if p.new ~= p.old then
    move(b, member, p, stamp)
    if p.new then trim(b) end
  end
end
