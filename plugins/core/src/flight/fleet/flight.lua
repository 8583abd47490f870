-- One flight of the whole fleet: which of many gateways asks the upstream, and what came of it. All times are Redis's, in
-- milliseconds. Nothing here is for ever: it goes when none of it is of use any more.
--
-- Fields: who leads (token), since when, and until when that counts without another word of it (lease); the newest answer (blob,
-- id), the time of the lead that brought it (at) and until when it is of use; or, instead, the names of the request fields that
-- answers depend on, and until when that is so (named); or, instead, until when each gateway asks for itself (own).
--
-- KEYS: the flight. ARGV: what is to be done, the token of who asks, and
--   lead     the length of the lease; how long ago what is taken may have been asked for, less than this; the id of the answer
--            that is not wanted. Returns {0, since when it leads}, {1, how long ago the answer was asked for, its id, the answer},
--            {2, names}, {3} for each asks for itself, {4} for somebody leads
--   publish  since when it led; how long the answer is of use; its id; the answer
--   vary     since when it led; how long that is so; the names
--   own      for how long
--   renew    the length of the lease
--   release  nothing
-- Each but the first ends the lead, but for renew, and returns whether the token led.
local key, act, token = KEYS[1], ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local old = redis.call('HMGET', key, 'token', 'id', 'since', 'lease', 'at', 'until', 'named', 'own')
local number = function(at) return tonumber(old[at] or 0) or 0 end
local since, lease, at = number(3), number(4), number(5)
-- How long ago that was, in milliseconds that have begun: more than the truth. A time to come is one of a clock that was put
-- back since, and nobody can tell.
local ago = function(at) return now >= at and now - at + 1 or math.huge end
local mine = old[1] == token
local ended, reply = mine, mine and 1 or 0

if act == 'lead' then
  local within = tonumber(ARGV[4])
  if number(6) > now and ago(at) < within and old[2] ~= ARGV[5] then
    return {1, ago(at), old[2], redis.call('HGET', key, 'blob')}
  end
  if number(7) > now then return {2, redis.call('HGET', key, 'names')} end
  if number(8) > now then return {3} end
  if not mine and lease > now and ago(since) < within then return {4} end
  redis.call('HSET', key, 'token', token, 'since', now, 'lease', now + ARGV[3])
  ended, reply = false, {0, now}
elseif act == 'renew' then
  if mine then redis.call('HSET', key, 'lease', now + ARGV[3]) end
  ended = false
elseif act == 'own' then
  if mine then
    redis.call('HDEL', key, 'blob', 'id', 'until', 'names', 'named')
    redis.call('HSET', key, 'own', now + ARGV[3])
  end
elseif act ~= 'release' and (tonumber(ARGV[3]) > at or tonumber(ARGV[3]) == at and mine) then
  redis.call('HDEL', key, 'blob', 'id', 'until', 'names', 'named', 'own')
  if act == 'publish' then
    redis.call('HSET', key, 'at', ARGV[3], 'until', now + ARGV[4], 'id', ARGV[5], 'blob', ARGV[6])
  else
    redis.call('HSET', key, 'at', ARGV[3], 'named', now + ARGV[4], 'names', ARGV[5])
  end
end
if ended then redis.call('HDEL', key, 'token', 'since', 'lease') end

old = redis.call('HMGET', key, 'lease', 'until', 'named', 'own')
local last = math.max(number(1), number(2), number(3), number(4))
if last > now then
  redis.call('PEXPIREAT', key, string.format('%.0f', last))
else
  redis.call('DEL', key)
end
return reply
