local before = redis.call('HGET', KEYS[1], 'version')
if before and tonumber(before) and tonumber(before) >= tonumber(ARGV[1]) then
    return {0, before}
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'version', ARGV[1], 'tables', ARGV[2])
if ARGV[3] ~= '' then
    redis.call('HSET', KEYS[1], 'signature', ARGV[3])
end
return {1, before or '0'}
