-- Rebuilds a board from its source beside the old one, under a lock.
-- KEYS: seven, see board.lua; then rows, reached, scores and events of what is being built.
-- ARGV: board.lua's five, then step, token ({owner}:{attempt}; an owner takes over from itself), how long the lock lasts (ms), and
--   begin: 1 to rebuild what is there, too
--   load: for each row member, score, when it was reached (ms, '' now), number of events, the event ids
--   finish: when the board expires (ms, 0: never)
-- Reply: begin: 'begun', 'busy' (another's lock), 'done' (the board is there). load: 'ok'. finish: 'more' (call again) or
--   'done'. load and finish: 'gone' without the lock, or where something was evicted.
-- Cost: O(rows log n) for load, of about 100 rows and events; O(100 log n) for finish, which swaps names.
local b, step, token, lasting = board_at(1), ARGV[6], ARGV[7], ARGV[8]
local built = { rows = KEYS[8], reached = KEYS[9], scores = KEYS[10], events = KEYS[11] }
local PARTS, AT_ONCE = { 'rows', 'reached', 'scores', 'events' }, 100

local function sizes()
  return { redis.call('LLEN', b.pending), redis.call('ZCARD', built.rows), redis.call('HLEN', built.reached),
    redis.call('ZCARD', built.scores), redis.call('ZCARD', built.events) }
end

-- The token that holds the lock, 'evicted' when something that goes with it is not all there any more.
local function holder()
  local lock = redis.call('HMGET', b.lock, 'token', 'waiting', unpack(PARTS))
  if not lock[1] then return nil end
  for i, size in ipairs(sizes()) do
    if size ~= tonumber(lock[i + 1]) then return 'evicted' end
  end
  return lock[1]
end

-- Notes what is there; all of it lasts until the next step.
local function renew()
  local now_there = sizes()
  redis.call('HSET', b.lock, 'waiting', now_there[1], 'rows', now_there[2], 'reached', now_there[3], 'scores', now_there[4],
    'events', now_there[5])
  redis.call('PEXPIRE', b.lock, lasting)
  redis.call('PEXPIRE', b.pending, LEFTOVER_MS)
  for _, part in ipairs(PARTS) do redis.call('PEXPIRE', built[part], LEFTOVER_MS) end
end

local function load()
  local i, last = 9, #ARGV - 2
  while i <= last do
    local member, value, at, count = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
    local p = plan(built, 'l', member, value, '')
    commit(built, 'l', member, '', p, stamp_of(at or now_ms))
    for e = i + 4, i + 3 + count do redis.call('ZADD', built.events, ms(now_ms), ARGV[e]) end
    i = i + 4 + count
  end
end

-- Applies what came since the rebuild began, in its order.
local function catch_up()
  for _, packed in ipairs(redis.call('LPOP', b.pending, AT_ONCE) or {}) do
    local change = cmsgpack.unpack(packed)
    local op, member, event = change[1], change[2], change[4]
    local p = plan(built, op, member, tonumber(change[3]), event)
    if p.outcome ~= 'overflow' then commit(built, op, member, event, p, change[5]) end
  end
  return redis.call('EXISTS', b.pending) == 0
end

local function swap(expires)
  local is_filled = redis.call('EXISTS', built.rows) == 1
  mark(b, is_filled)
  for _, part in ipairs(PARTS) do
    redis.call('UNLINK', b[part])
    if redis.call('EXISTS', built[part]) == 1 then
      redis.call('RENAME', built[part], b[part])
      redis.call('PERSIST', b[part])
    end
  end
  expire(b, expires)
  redis.call('UNLINK', b.lock, b.pending)
end

if step == 'begin' then
  local state = state_of(b)
  if ARGV[9] == '0' and (state == 'filled' or state == 'empty') then return 'done' end
  local held = redis.pcall('HGET', b.lock, 'token')
  if type(held) == 'table' then
    redis.call('UNLINK', b.lock)
    held = nil
  end
  if held == token then return 'begun' end
  if held and string.match(held, '^(.*):') ~= string.match(token, '^(.*):') then return 'busy' end
  redis.call('HSET', b.lock, 'token', token)
  redis.call('UNLINK', b.pending)
  renew()
  return 'begun'
end

-- Once it is being finished, a load that was delayed on its way would undo what came later.
local held, finishing = holder(), token .. '.'
if step == 'load' then
  if held ~= token then return 'gone' end
  load()
  renew()
  return 'ok'
end
if held ~= token and held ~= finishing then return 'gone' end
redis.call('HSET', b.lock, 'token', finishing)
if catch_up() then
  swap(ARGV[9])
  return 'done'
end
renew()
return 'more'
