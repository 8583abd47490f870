-- Adds ids to those that came since the filter was built. Each gets a place of its own, after all others: whoever has seen
-- one has seen those before it. Places are times, so that they go on where they were if this set is ever lost.
--
-- KEYS: these ids. ARGV: how many there may be; ids.
-- Returns how many are new, or -1 when there is no room for one that is.
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
local time = redis.call('TIME')
local place = math.max(time[1] * 1000 + math.floor(time[2] / 1000), tonumber(last or 0) + 1)
local room = tonumber(ARGV[1]) - redis.call('ZCARD', KEYS[1])
local new = 0
for at = 2, #ARGV do
  if not redis.call('ZSCORE', KEYS[1], ARGV[at]) then
    if new >= room then return -1 end
    redis.call('ZADD', KEYS[1], string.format('%.0f', place), ARGV[at])
    place = place + 1
    new = new + 1
  end
end
return new
