-- Gives tokens back that were taken but not used. KEYS: the records. ARGV, three for each: what was charged
-- (microseconds, picoseconds), and the arrival time in microseconds that it led to. Time may have given back a part of
-- it already, which is not given back twice; a record that has expired meanwhile has nothing to give back.
local MEGA = 1000000
local time = redis.call('TIME')
local now = time[1] * MEGA + time[2]
local returned = 0

for i = 1, #KEYS do
  local a = i * 3 - 2
  local cq, cr, ahead = tonumber(ARGV[a]), tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]) - now
  if cq >= ahead then cq, cr = ahead, 0 end
  local record = redis.call('GET', KEYS[i])
  local q, r = string.match(record or '', '^(%d+)%.(%d%d%d%d%d%d)$')
  if q and ahead > 0 then
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
