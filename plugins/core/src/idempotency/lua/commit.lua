-- Stores what the one execution came to, and with it its event.
--
-- KEYS: the record, and the outbox if there is an event. ARGV: token, fingerprint, fence, answer or tombstone, the bytes
-- to store, retention (ms), route, key; for an event also how it is trimmed (NONE, MAXLEN with a length, MINID with an age
-- in ms), and its fields' names and values.
-- Returns committed; again when this token has done so before; restored when the store had lost the record; superseded
-- when the record is somebody else's or resolved, which is then left as it is.
local retention = tonumber(ARGV[6])
local kind, trim, bound = ARGV[4], ARGV[9], tonumber(ARGV[10])
local ok = #ARGV >= 8 and retention and retention >= 1 and #ARGV[2] == 32 and string.find(ARGV[3], '^%d+$')
  and (kind == 'answer' or kind == 'tombstone')
if KEYS[2] then
  ok = ok and (trim == 'NONE' or trim == 'MAXLEN' or trim == 'MINID') and bound and #ARGV >= 12 and #ARGV % 2 == 0
end
if not ok then return redis.error_reply('SLUICE commit has wrong arguments') end

local found = redis.call('TYPE', KEYS[1]).ok
local word, fence = 'restored', ARGV[3]
if found == 'hash' then
  local r = redis.call('HMGET', KEYS[1], 'state', 'token', 'by', 'fence')
  if r[3] == ARGV[1] and r[1] ~= 'flight' then
    -- Changes nothing, but is a write: WAIT behind this waits for what its own connection wrote, and the first try's was
    -- another.
    redis.call('HSET', KEYS[1], 'by', ARGV[1])
    return { 'again' }
  end
  if r[1] ~= 'flight' or r[2] ~= ARGV[1] then return { 'superseded' } end
  word, fence = 'committed', r[4] or fence
elseif found ~= 'none' then
  return { 'superseded' }
end

local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000000 + time[2])
-- A script that fails half way is not rolled back: all that can fail is looked at first, and the event comes before the
-- record, so that it may be there twice but never not at all.
if KEYS[2] then
  local outbox = redis.call('TYPE', KEYS[2]).ok
  if outbox ~= 'none' and outbox ~= 'stream' then
    return redis.error_reply('SLUICE ' .. KEYS[2] .. ' holds something else than an outbox')
  end
  local add = { 'XADD', KEYS[2] }
  if trim == 'MINID' then
    bound = math.max(0, time[1] * 1000 + math.floor(time[2] / 1000) - bound)
  end
  if trim ~= 'NONE' then
    add[3], add[4], add[5] = trim, '~', string.format('%.0f', bound)
  end
  add[#add + 1], add[#add + 2], add[#add + 3] = '*', 'fence', fence
  for i = 11, #ARGV do add[#add + 1] = ARGV[i] end
  redis.call(unpack(add))
end
redis.call('HSET', KEYS[1], 'v', '1', 'fp', ARGV[2], 'state', kind, 'answer', ARGV[5], 'fence', fence, 'by', ARGV[1],
  'route', ARGV[7], 'key', ARGV[8], 'done', now)
redis.call('HDEL', KEYS[1], 'token', 'lease')
redis.call('PEXPIRE', KEYS[1], retention)
return { word }
