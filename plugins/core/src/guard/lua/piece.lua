-- A piece of one filter and no other.
--
-- KEYS: the filter. ARGV: its header; the first byte and the last.
-- Returns nil when there is another filter by now.
if redis.call('GETRANGE', KEYS[1], 0, 55) ~= ARGV[1] then return false end
return redis.call('GETRANGE', KEYS[1], ARGV[2], ARGV[3])
