local version = redis.call('HGET', KEYS[1], 'version')
if not version then
    return {}
end
local number = tonumber(version)
if number and (number <= tonumber(ARGV[1]) or version == ARGV[2]) then
    return {version}
end
return redis.call('HMGET', KEYS[1], 'version', 'tables', 'signature')
