-- Counts its calls and answers the time it was given: for tests of the handle.
-- KEYS: 1 = counter. ARGV: 1 = anything. Reply: now, in microseconds. Cost: one INCR.
redis.call('INCR', KEYS[1])
return now
