-- Keeps a response, if its place is as it was when the response's making began.
-- KEYS: the place's note, the variant
-- ARGV: the note as it was seen ('' = none), the note to be, the frame, how long both last (ms), deadline, now
-- Reply: 1 kept, 0 refused: purged meanwhile, or filled by another instance
-- Cost: GET, PTTL and two SETs. A value of another type under our keys is replaced.
local seen = redis.pcall('GET', KEYS[1])
if type(seen) ~= 'string' then seen = '' end
if seen ~= ARGV[1] then return 0 end
local lasts = tonumber(ARGV[4])
local left = redis.call('PTTL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[2], 'PX', string.format('%.0f', math.max(lasts, left)))
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
return 1
