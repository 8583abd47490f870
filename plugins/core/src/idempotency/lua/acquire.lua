-- Takes a key for one execution, or says why not.
--
-- KEYS: the record, the fence counter. ARGV: fingerprint, token, lease (ms), retention (ms), route, key, bytes of the
-- longest answer to return.
-- Returns the word for what was found and what belongs to it:
--   acquired, fence, 1 when this token had it already
--   mismatch | corrupt
--   answer or tombstone, the stored bytes or nil if they are longer, the token that stored them or nil (an operator),
--     ms until the record ends
--   flight, ms until the lease ends, fence
--   unknown, ms since the lease ended, fence
--
-- A lease that has ended is never taken over: nobody knows whether its holder's request was carried out.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local lease, retention, most = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[7])
if #ARGV ~= 7 or not lease or not retention or not most or lease < 1 or retention < 1 then
  return redis.error_reply('SLUICE acquire has wrong arguments')
end
local function number(text)
  return text and #text <= 16 and string.find(text, '^%d+$') and tonumber(text)
end
local ends = string.format('%.0f', now + lease * 1000)

local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'none' then
  if kind ~= 'hash' then return { 'corrupt' } end
  local r = redis.call('HMGET', KEYS[1], 'v', 'fp', 'state', 'token', 'fence', 'lease', 'by')
  local version, print, state, token = r[1], r[2], r[3], r[4]
  local fence, ended = number(r[5]), number(r[6])
  local length = (state == 'answer' or state == 'tombstone') and redis.call('HSTRLEN', KEYS[1], 'answer')
  if version ~= '1' or not print or #print ~= 32 or not fence or not (length and length > 0 or
      state == 'flight' and token and token ~= '' and ended) then
    return { 'corrupt' }
  end
  if print ~= ARGV[1] then return { 'mismatch' } end
  if length then
    -- Every byte of a string that passes a script is copied and hashed: a long one is read without.
    local bytes = length <= most and redis.call('HMGET', KEYS[1], 'answer')[1]
    return { state, bytes, r[7], redis.call('PTTL', KEYS[1]) }
  end
  if token == ARGV[2] then
    redis.call('HSET', KEYS[1], 'lease', ends)
    redis.call('PEXPIRE', KEYS[1], retention)
    return { 'acquired', fence, 1 }
  end
  if now < ended then return { 'flight', math.ceil((ended - now) / 1000), fence } end
  return { 'unknown', math.floor((now - ended) / 1000), fence }
end

-- The clock as well as the counter: the fence grows even after the counter was lost.
local fence = now
local counter = redis.call('GET', KEYS[2])
if counter then
  local last = number(counter)
  if not last or last >= 9007199254740991 then
    return redis.error_reply('SLUICE ' .. KEYS[2] .. ' holds something else than a fence')
  end
  if last >= now then fence = last + 1 end
end
local text = string.format('%.0f', fence)
redis.call('SET', KEYS[2], text)
redis.call('HSET', KEYS[1], 'v', '1', 'fp', ARGV[1], 'state', 'flight', 'token', ARGV[2], 'fence', text,
  'lease', ends, 'route', ARGV[5], 'key', ARGV[6], 'started', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], retention)
return { 'acquired', fence, 0 }
