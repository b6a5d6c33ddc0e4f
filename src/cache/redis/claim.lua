-- Asks for the right to fill a place for all instances.
-- KEYS: the place's claim: '{token}', '{token}+' where somebody waits for it, or 'alone'; it always has a TTL
-- ARGV: the token of who asks (16 hexadecimal digits), how long it lasts (ms), a token of theirs that they could not give back
--   ('' = none), deadline, now
-- Reply: 1 granted; 0 somebody else's, who tells when it is given back; 2 nobody waits for this place
-- Cost: GET and PTTL, and a SET where it is granted or the first one waits. What is not ours is replaced.
local held = redis.pcall('GET', KEYS[1])
local is_ours = type(held) == 'string' and redis.call('PTTL', KEYS[1]) > 0
if is_ours and held == 'alone' then return 2 end
if is_ours and string.match(held, '^%x+%+?$') then
  if (string.gsub(held, '%+$', '')) == ARGV[3] then
    -- Who waits is told when this one is given back.
    redis.call('SET', KEYS[1], ARGV[1] .. string.sub(held, #ARGV[3] + 1), 'PX', ARGV[2])
    return 1
  end
  if string.sub(held, -1) ~= '+' then redis.call('SET', KEYS[1], held .. '+', 'KEEPTTL') end
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
