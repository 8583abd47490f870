-- An operator's word on an execution of which nobody knows whether it was carried out.
--
-- KEYS: the record. ARGV: the fence the operator saw, complete or free, 1 to do so although the lease still runs; to
-- complete also answer or tombstone, the bytes to store, retention (ms).
-- Returns resolved; absent; completed when it has an answer already; flight and ms until the lease ends; changed when it
-- is another execution than the operator saw; corrupt. The holder's token is gone then: what it commits later is refused
-- for as long as the record is there.
local act, retention = ARGV[2], tonumber(ARGV[6])
local complete = act == 'complete' and #ARGV == 6 and (ARGV[4] == 'answer' or ARGV[4] == 'tombstone')
  and retention and retention >= 1
if not complete and not (act == 'free' and #ARGV == 3) then
  return redis.error_reply('SLUICE resolve has wrong arguments')
end
local found = redis.call('TYPE', KEYS[1]).ok
if found == 'none' then return { 'absent' } end
if found ~= 'hash' then return { 'corrupt' } end
local r = redis.call('HMGET', KEYS[1], 'state', 'fence', 'lease')
if r[1] == 'answer' or r[1] == 'tombstone' then return { 'completed' } end
local ends = r[3] and string.find(r[3], '^%d+$') and tonumber(r[3])
if r[1] ~= 'flight' or not r[2] or not ends then return { 'corrupt' } end
if r[2] ~= ARGV[1] then return { 'changed' } end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now < ends and ARGV[3] ~= '1' then return { 'flight', math.ceil((ends - now) / 1000) } end
if not complete then
  redis.call('DEL', KEYS[1])
  return { 'resolved' }
end
redis.call('HSET', KEYS[1], 'state', ARGV[4], 'answer', ARGV[5], 'done', string.format('%.0f', now))
redis.call('HDEL', KEYS[1], 'token', 'lease')
redis.call('PEXPIRE', KEYS[1], retention)
return { 'resolved' }
