-- What there is of one guard, at one instant.
--
-- KEYS: the filter; the ids that came since it was built. ARGV: the cursor; how many ids at most.
-- Returns the filter's header and its length (nothing and 0 when there is none), how many ids came, the place of the last
-- of them, the place of the last one returned (0: none), and ids whose places are after the cursor.
local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2]
local reply = {
  redis.call('GETRANGE', KEYS[1], 0, 55), redis.call('STRLEN', KEYS[1]),
  redis.call('ZCARD', KEYS[2]), tonumber(last or 0), 0
}
local ids = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
for at = 1, #ids, 2 do
  reply[#reply + 1] = ids[at]
  reply[5] = tonumber(ids[at + 1])
end
return reply
