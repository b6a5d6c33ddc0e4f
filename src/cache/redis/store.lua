-- Keeps a response, if its place is as it was when the response's making began.
-- KEYS: the place's note, the variant, the claim
-- ARGV: the note as it was seen ('' = none), the note to be, the frame, how long both last (ms), the claim's token
--   ('' = none), the channel that tells who waits for it, deadline, now
-- Reply: 1 kept, 0 refused: purged meanwhile, or filled by another instance
-- Cost: GET, PTTL and two SETs; GET, DEL and PUBLISH for a claim, which is given back in any case. A value of another type under our keys is replaced.
local held = ARGV[5] ~= '' and redis.pcall('GET', KEYS[3])
if type(held) == 'string' and (string.gsub(held, '%+$', '')) == ARGV[5] then
  redis.call('DEL', KEYS[3])
  if held ~= ARGV[5] then redis.call('PUBLISH', ARGV[6], KEYS[3]) end
end
local seen = redis.pcall('GET', KEYS[1])
if type(seen) ~= 'string' then seen = '' end
if seen ~= ARGV[1] then return 0 end
local lasts = tonumber(ARGV[4])
local left = redis.call('PTTL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[2], 'PX', string.format('%.0f', math.max(lasts, left)))
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
return 1
