-- Runs one command, of those that do harm when they run after their caller has given up.
-- KEYS: what the command is about.
-- ARGV: the command and its arguments, deadline, now
-- Reply: the command's.
-- Cost: the command's.
return redis.call(unpack(ARGV, 1, #ARGV - 2))
