-- Adds to counters: at once, or as part of a flush that counts once.
-- KEYS: the counters; before them, for a flush, the mark that holds the last number of its writer. All in one slot.
-- ARGV: the number of the flush ('' = none), how long the mark lives (ms), then for each counter what is added.
-- Stored: a counter is a plain integer, a mark the number of a flush. A mark that is no number counts as none.
-- Reply: {'done'} where the mark tells that all of it is added already; else, for each counter, its value as text ('0'
--   in a flush, where nobody asks), or 'over' (the sum would leave 64 bits) or 'odd' (its value is no integer). Those two
--   change nothing.
-- Cost: a flush one command for each counter and two for the mark; else two for each counter.
local marked = ARGV[1] ~= ''
local from = marked and 1 or 0

if marked then
  local last = redis.pcall('GET', KEYS[1])
  last = type(last) == 'string' and #last <= 16 and tonumber(last)
  if last and last >= tonumber(ARGV[1]) then return {'done'} end
  -- First of all writes: a server that refuses writes refuses here, and nothing is half done.
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end

local reply = {}
for i = 1 + from, #KEYS do
  local n = i - from
  local answer = redis.pcall('INCRBY', KEYS[i], ARGV[2 + n])
  if type(answer) == 'number' then
    -- Read back, because Lua's numbers hold only 53 bits.
    reply[n] = marked and '0' or redis.call('GET', KEYS[i])
  elseif string.find(answer.err, 'overflow', 1, true) then
    reply[n] = 'over'
  elseif string.find(answer.err, 'not an integer', 1, true) or string.find(answer.err, 'WRONGTYPE', 1, true) then
    reply[n] = 'odd'
  else
    return answer
  end
end
return reply
