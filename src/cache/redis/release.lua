-- Gives a claim back without a response, if it is still held.
-- KEYS: the place's claim
-- ARGV: the token, the channel that tells who waits, for how long nobody waits for this place (ms; 0: somebody else may
--   claim it), deadline, now
-- Reply: 1 given back, 0 not held
-- Cost: GET, and where it is held SET or DEL, and PUBLISH where somebody waits.
local held = redis.pcall('GET', KEYS[1])
if type(held) ~= 'string' or (string.gsub(held, '%+$', '')) ~= ARGV[1] then return 0 end
if ARGV[3] == '0' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], 'alone', 'PX', ARGV[3]) end
if held ~= ARGV[1] then redis.call('PUBLISH', ARGV[2], KEYS[1]) end
return 1
