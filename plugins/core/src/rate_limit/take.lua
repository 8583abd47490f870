-- Takes tokens from several GCRA records at once: all that enforce must pass, only then are all charged.
--
-- KEYS: the records. ARGV, six for each: emission interval (microseconds, picoseconds), burst tolerance
-- (microseconds, picoseconds), tokens needed, tokens wanted (at least those needed); a seventh says whether the limit
-- is a shadow (1), which neither denies nor, if it would deny, is charged.
-- Returns the clock in microseconds, then three integers for each: tokens granted, backlog in microseconds, retry in
-- microseconds (above 0: denied).
--
-- A record is "<microseconds>.<picoseconds, six digits>", the theoretical arrival time. The two halves are separate
-- integers throughout: together they have more digits than a Lua number keeps.
local floor, MEGA = math.floor, 1000000
local time = redis.call('TIME')
local now = time[1] * MEGA + time[2]
local argv, reply, writes, all = ARGV, { now }, {}, true

for i = 1, #KEYS do
  local a = i * 7 - 6
  local tq, tr = tonumber(argv[a]), tonumber(argv[a + 1])
  local dq, dr = tonumber(argv[a + 2]), tonumber(argv[a + 3])
  local need, want = tonumber(argv[a + 4]), tonumber(argv[a + 5])

  -- base = min(max(TAT, now), now + D)
  local bq, br = now, 0
  local record = redis.call('GET', KEYS[i])
  if record then
    local q, r = string.match(record, '^(%d+)%.(%d%d%d%d%d%d)$')
    if not q then
      return redis.error_reply('SLUICE ' .. KEYS[i] .. ' holds something else than a rate limit')
    end
    q, r = tonumber(q), tonumber(r)
    if q >= now then
      bq, br = q, r
      if bq - now > dq or (bq - now == dq and br > dr) then
        bq, br = now + dq, dr
      end
    end
  end

  -- room = now + D - base, and how many tokens fit in it: first about, then exactly.
  local rq, rr = dq - (bq - now), dr - br
  if rr < 0 then rq, rr = rq - 1, rr + MEGA end
  local grant = want
  local fit = floor((rq + rr / MEGA) / (tq + tr / MEGA)) + 1
  if grant > fit then grant = fit end
  local cq, cr
  repeat
    local low = grant * tr
    local carry = floor(low / MEGA)
    cq, cr = grant * tq + carry, low - carry * MEGA
    local fits = cq < rq or (cq == rq and cr <= rr)
    if not fits then grant = grant - 1 end
  until fits or grant < need

  local retry = 0
  if grant < need then
    grant = 0
    local low = need * tr
    local carry = floor(low / MEGA)
    retry = need * tq + carry - rq
    if low - carry * MEGA > rr then retry = retry + 1 end
    if retry < 1 then retry = 1 end
    if argv[a + 6] ~= '1' then all = false end
  elseif grant > 0 then
    local nq, nr = bq + cq, br + cr
    if nr >= MEGA then nq, nr = nq + 1, nr - MEGA end
    writes[#writes + 1] = { i, nq, nr, grant }
  end
  reply[i * 3 - 1], reply[i * 3], reply[i * 3 + 1] = 0, bq - now, retry
end

if all then
  for _, w in ipairs(writes) do
    local i, nq, nr = w[1], w[2], w[3]
    local ahead = nq - now
    redis.call('SET', KEYS[i], string.format('%.0f.%06.0f', nq, nr), 'PX', string.format('%.0f', floor(ahead / 1000) + 1))
    reply[i * 3 - 1], reply[i * 3] = w[4], ahead
  end
end
return reply
