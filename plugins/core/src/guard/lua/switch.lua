-- Puts a new filter in the place of the old one. It holds the ids that came up to `last`, which need not be kept beside it
-- any longer; yet they are, for a while, for those who still have the old one, unless there is no more room.
--
-- KEYS: the filter; the ids that came since it was built; the new filter. ARGV: the header of the old one; `last`; how long
-- ids are kept, in milliseconds; how many there may be.
-- Returns 1; 0 when the old filter is another one by now; -1 when the new one is gone.
if redis.call('GETRANGE', KEYS[1], 0, 55) ~= ARGV[1] then return 0 end
if redis.call('EXISTS', KEYS[3]) == 0 then return -1 end
redis.call('PERSIST', KEYS[3])
redis.call('RENAME', KEYS[3], KEYS[1])
local time = redis.call('TIME')
local most = time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(ARGV[3])
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[4]) then most = tonumber(ARGV[2]) end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', math.min(most, tonumber(ARGV[2]))))
return 1
