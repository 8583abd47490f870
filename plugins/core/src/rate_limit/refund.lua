-- Gives tokens back that were taken but not used. KEYS: the records. ARGV, two for each: what was charged
-- (microseconds, picoseconds). A record that has expired meanwhile has nothing to give back.
local MEGA = 1000000
local time = redis.call('TIME')
local now = time[1] * MEGA + time[2]
local returned = 0

for i = 1, #KEYS do
  local record = redis.call('GET', KEYS[i])
  local q, r = string.match(record or '', '^(%d+)%.(%d%d%d%d%d%d)$')
  if q then
    q, r = tonumber(q) - tonumber(ARGV[i * 2 - 1]), tonumber(r) - tonumber(ARGV[i * 2])
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
