-- Answers one question about a board.
-- KEYS: seven, see board.lua.
-- ARGV: board.lua's five, then the question: 'page', offset, limit | 'around', member, rows | 'members', member... |
--   'percentile', member
-- Reply: {'lost'}, {'other'}, or {'known', members in all, then
--   page, around: rows before the first, rank of the first, then member and score of each
--   members: score and rank of each, '' for one that is not there
--   percentile: score, rank ('' for one that is not there), members with a worse score
-- Cost: O(log n + rows), at most 100 rows.
local b, question = board_at(1), ARGV[6]
local state = state_of(b)
if state == 'other' and not has_source then return { 'other' } end
if (state == 'lost' or state == 'other') and has_source then return { 'lost' } end
local is_there = state == 'filled'
local total = is_there and redis.call('ZCARD', b.rows) or 0

local function page(offset, limit)
  local rows = redis.call('ZRANGE', b.rows, offset, offset + limit - 1, 'WITHSCORES')
  local reply = { 'known', total, offset, 0 }
  if #rows == 0 then return reply end
  reply[4] = rank_of(b, tonumber(rows[2]), rows[1])
  for i = 1, #rows, 2 do
    reply[#reply + 1], reply[#reply + 2] = member_of(rows[i]), text(flip(tonumber(rows[i + 1])))
  end
  return reply
end

local function around(member, rows)
  local stored, element = find(b, member)
  if not stored then return { 'known', total, 0, 0 } end
  local first = redis.call('ZRANK', b.rows, element) - math.floor((rows - 1) / 2)
  return page(math.max(0, math.min(first, total - rows)), rows)
end

local function members(first, last)
  local reply = { 'known', total }
  for i = first, last do
    local stored, element
    if is_there then stored, element = find(b, ARGV[i]) end
    reply[#reply + 1] = stored and text(flip(stored)) or ''
    reply[#reply + 1] = stored and rank_of(b, stored, element) or ''
  end
  return reply
end

if question == 'members' then return members(7, #ARGV - 2) end
if not is_there then
  if question == 'percentile' then return { 'known', 0, '', '', 0 } end
  return { 'known', 0, 0, 0 }
end
if question == 'page' then return page(tonumber(ARGV[7]), tonumber(ARGV[8])) end
if question == 'around' then return around(ARGV[7], tonumber(ARGV[8])) end
local stored, element = find(b, ARGV[7])
if not stored then return { 'known', total, '', '', 0 } end
local worse = redis.call('ZCOUNT', b.rows, '(' .. text(stored), '+inf')
return { 'known', total, text(flip(stored)), rank_of(b, stored, element), worse }
