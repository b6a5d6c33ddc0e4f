-- Puts entries on top of a user's action log: all of them, or none.
-- KEYS: the log
-- ARGV: capacity, time to live (ms), then for each entry, the oldest first, three:
--   its time as text or '' for now, what stands before the time, what stands after it
-- Stored: a list of JSON objects {action, timestamp, metadata, id}, newest first.
-- Reply: how many entries were appended
-- Cost: one LPUSH, one LTRIM, one PEXPIRE; O(entries + what falls out of the log).

-- As `time::write`.
local function rfc3339(us)
  local floor = math.floor
  local seconds = floor(us / 1000000)
  local shifted, rest = floor(seconds / 86400) + 719468, seconds % 86400
  local era, of_era = floor(shifted / 146097), shifted % 146097
  local year = floor((of_era - floor(of_era / 1460) + floor(of_era / 36524) - floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + floor(year / 4) - floor(year / 100))
  local march = floor((5 * of_year + 2) / 153)
  local month = march < 10 and march + 3 or march - 9
  local day = of_year - floor((153 * march + 2) / 5) + 1
  year = year + era * 400 + (month <= 2 and 1 or 0)
  local clock = string.format('%02d:%02d:%02d', floor(rest / 3600), floor(rest / 60) % 60, rest % 60)
  return string.format('%04d-%02d-%02dT%s.%06dZ', year, month, day, clock, us % 1000000)
end

local stamp, entries = rfc3339(now), {}
for i = 3, #ARGV - 4, 3 do
  entries[#entries + 1] = ARGV[i + 1] .. (ARGV[i] ~= '' and ARGV[i] or stamp) .. ARGV[i + 2]
end
redis.call('LPUSH', KEYS[1], unpack(entries))
redis.call('LTRIM', KEYS[1], 0, tonumber(ARGV[1]) - 1)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return #entries
