-- Brings into a user's action log what an outage held back, each entry at most once. The same as `Log::merge`.
-- KEYS: the log, the mark of its last clear (one slot: the mark's hash tag is the log's key)
-- ARGV: capacity, time to live (ms), time of a clear that was held (us, '' = none), the same as text,
--   then for each entry, the oldest first, four: when it was noted (us), its id, its time as text, its text
-- Stored: the log as in append.lua; the mark as microseconds.
-- Reply: how many entries were not there yet
-- Cost: one LRANGE of the whole log; what is newer than the oldest of the entries is written anew, after a clear all of it.
local capacity, ttl, merged = tonumber(ARGV[1]), ARGV[2], 0
local is_cleared = ARGV[3] ~= ''
local mark = redis.pcall('GET', KEYS[2])
mark = type(mark) == 'string' and tonumber(mark) or -1

-- The time of an entry, or false where there is none that can be compared.
local function time_of(text)
  local seconds, fraction = string.match(text, '"timestamp":%s*"(%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d)%.?(%d*)Z"')
  return seconds and seconds .. '.' .. string.sub(fraction .. '000000', 1, 6) .. 'Z' or false
end

-- Puts texts on top of the log, the first one uppermost.
local function push(texts)
  for last = #texts, 1, -1000 do
    local some = {}
    for n = last, math.max(last - 999, 1), -1 do some[#some + 1] = texts[n] end
    redis.call('LPUSH', KEYS[1], unpack(some))
  end
end

local log
if is_cleared then
  -- A clear makes room of whatever is there.
  local all, kept = redis.pcall('LRANGE', KEYS[1], 0, -1), {}
  for _, text in ipairs(all) do
    local time = time_of(text)
    if time and time > ARGV[4] then kept[#kept + 1] = text end
  end
  if all.err or #kept < #all then
    redis.call('UNLINK', KEYS[1])
    push(kept)
  end
  if tonumber(ARGV[3]) > mark then redis.call('SET', KEYS[2], ARGV[3], 'PX', ttl) end
  log = kept
else
  log = redis.call('LRANGE', KEYS[1], 0, -1)
end

-- Our entries end with `"id":"<16 digits>"}`.
local ids = {}
for _, text in ipairs(log) do ids[string.sub(text, -18, -3)] = true end

-- The top of the log, as far down as the new entries reach, with the times; and how many of it were in the log.
local top, times, taken = {}, {}, 0
local function place_of(time)
  local n = 1
  while true do
    if n > #top then
      if taken == #log then return n end
      taken = taken + 1
      top[n], times[n] = log[taken], time_of(log[taken])
    end
    if times[n] and times[n] < time then return n end
    n = n + 1
  end
end

for i = #ARGV - 5, 5, -4 do
  local noted, id, time, text = tonumber(ARGV[i]), ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if noted > mark and not ids[id] then
    local place = place_of(time)
    table.insert(top, place, text)
    table.insert(times, place, time)
    ids[id], merged = true, merged + 1
  end
end
if merged > 0 then
  redis.call('LTRIM', KEYS[1], taken, -1)
  push(top)
  redis.call('LTRIM', KEYS[1], 0, capacity - 1)
end
if merged > 0 or (is_cleared and #log > 0) then redis.call('PEXPIRE', KEYS[1], ttl) end
return merged
