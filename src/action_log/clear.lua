-- Empties a user's action log, and marks when: what an outage holds back elsewhere from before is not brought in then.
-- KEYS: the log, the mark
-- ARGV: capacity (of no use here), time to live of the mark (ms)
-- Reply: 1
-- Cost: one UNLINK, one SET.
redis.call('UNLINK', KEYS[1])
redis.call('SET', KEYS[2], string.format('%.0f', now), 'PX', ARGV[2])
return 1
