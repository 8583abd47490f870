-- Says that an execution is still alive.
--
-- KEYS: the record. ARGV: token, lease (ms), retention (ms).
-- Returns renewed, or lost when the record is not this token's any more. A lease that has ended is renewed as well: that
-- its holder is alive is the truth, and nobody else can have taken it.
local lease, retention = tonumber(ARGV[2]), tonumber(ARGV[3])
if #ARGV ~= 3 or not lease or not retention or lease < 1 or retention < 1 then
  return redis.error_reply('SLUICE renew has wrong arguments')
end
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then return { 'lost' } end
local r = redis.call('HMGET', KEYS[1], 'state', 'token')
if r[1] ~= 'flight' or r[2] ~= ARGV[1] then return { 'lost' } end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('HSET', KEYS[1], 'lease', string.format('%.0f', now + lease * 1000))
redis.call('PEXPIRE', KEYS[1], retention)
return { 'renewed' }
