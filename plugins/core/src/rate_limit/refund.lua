-- Gives tokens back that were taken but not used. KEYS: the records. ARGV, three for each: what was charged
-- (microseconds, picoseconds), and when (microseconds). The time that has gone by since is not given back: requests
-- behind this one move up by what is, and must not get into the past. A record that has expired has nothing to give.
local MEGA = 1000000
local time = redis.call('TIME')
local now = time[1] * MEGA + time[2]
local returned = 0

for i = 1, #KEYS do
  local a = i * 3 - 2
  local cq, cr = ARGV[a] - math.max(now - ARGV[a + 2], 0), tonumber(ARGV[a + 1])
  local record = redis.call('GET', KEYS[i])
  local q, r = string.match(record or '', '^(%d+)%.(%d%d%d%d%d%d)$')
  if q and cq >= 0 then
    q, r = tonumber(q) - cq, tonumber(r) - cr
    if r < 0 then q, r = q - 1, r + MEGA end
    if q > now then
      redis.call('SET', KEYS[i], string.format('%.0f.%06.0f', q, r), 'PX', string.format('%.0f', math.floor((q - now) / 1000) + 1))
    else
      redis.call('DEL', KEYS[i])
    end
    returned = returned + 1
  end
end
return returned
