-- Frees a key whose request was never sent.
--
-- KEYS: the record. ARGV: token.
-- Returns released; absent when there is nothing to free; lost when the record is not this token's in flight.
local found = redis.call('TYPE', KEYS[1]).ok
if found == 'none' then return { 'absent' } end
if found ~= 'hash' then return { 'lost' } end
local r = redis.call('HMGET', KEYS[1], 'state', 'token')
if r[1] ~= 'flight' or r[2] ~= ARGV[1] then return { 'lost' } end
redis.call('DEL', KEYS[1])
return { 'released' }
