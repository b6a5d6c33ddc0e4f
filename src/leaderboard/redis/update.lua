-- Changes one member in all periods of a board, or empties them; all or, where one refuses, none.
-- KEYS: seven for each period, see board.lua.
-- ARGV: board.lua's five, then operation (b, w, l, i, s by policy; a adds points of an event; r removes; x resets), member,
--   value, event id, and for each period when it expires (ms, 0: never)
-- Reply: 'ok', then for each period {outcome, old, new, rank, previous rank}, '' for what is not there; or {'overflow'} or {'other'}.
--   'lost': a board with a source that is gone; 'pending': the same while it is rebuilt, and the change is kept.
-- Cost: O(log n), some 6 to 15 commands for each period.
local op, member, value, event = ARGV[6], ARGV[7], tonumber(ARGV[8]), ARGV[9]
local stamp = stamp_of(now_ms)
local FIRST = 9

-- Keeps the change for the rebuild that is under way; one that falls too far behind is called off.
local function defer(b)
  if redis.call('LLEN', b.pending) >= MOST_PENDING then
    redis.call('UNLINK', b.lock, b.pending)
    return false
  end
  redis.call('RPUSH', b.pending, cmsgpack.pack({ op, member, ARGV[8], event, stamp }))
  redis.call('HINCRBY', b.lock, 'waiting', 1)
  redis.call('PEXPIRE', b.pending, LEFTOVER_MS)
  return true
end

local function prepare(n)
  local b = board_at(n)
  b.expires, b.state = ARGV[FIRST + n], state_of(b)
  b.is_locked = redis.call('EXISTS', b.lock) == 1
  b.is_gone = b.state == 'lost' or b.state == 'other'
  b.is_new = b.is_gone and not b.is_locked and not has_source
  if not b.is_gone or b.is_new then b.plan = plan(b, op, member, value, event) end
  return b
end

local function shown(stored) return stored and text(flip(stored)) or '' end

local function write(b)
  if not b.plan then return { b.is_locked and defer(b) and 'pending' or 'lost', '', '', '', '' } end
  local p = b.plan
  local previous = p.old and rank_of(b, p.old, p.element) or ''
  if b.is_locked then defer(b) end
  local others = b.is_new and 0 or redis.call('ZCARD', b.rows) - (p.old and 1 or 0)
  local fill = (p.new or others > 0) and 'filled' or 'empty'
  if fill ~= b.state then mark(b, fill == 'filled') end
  if b.is_new then redis.call('UNLINK', b.rows, b.reached, b.scores, b.events) end
  commit(b, op, member, event, p, stamp)
  if p.new and cap > 0 and not redis.call('ZSCORE', b.rows, p.element) then p.new = nil end
  if fill == 'filled' and fill ~= b.state then expire(b, b.expires) end
  return { p.outcome, shown(p.old), shown(p.new), p.new and rank_of(b, p.new, p.element) or '', previous }
end

if op == 'x' then
  local reply = { 'ok' }
  for n = 1, #KEYS / 7 do
    local b = board_at(n)
    mark(b, false)
    redis.call('UNLINK', b.rows, b.reached, b.scores, b.pending, b.lock)
    reply[n + 1] = { 'recorded', '', '', '', '' }
  end
  return reply
end

local boards = {}
for n = 1, #KEYS / 7 do
  local b = prepare(n)
  if b.is_new and b.state == 'other' then return { 'other' } end
  if b.plan and b.plan.outcome == 'overflow' then return { 'overflow' } end
  boards[n] = b
end
local reply = { 'ok' }
for n, b in ipairs(boards) do reply[n + 1] = write(b) end
return reply
