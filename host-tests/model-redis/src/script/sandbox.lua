-- The globals that a script of Redis sees. Takes the real globals and the table that becomes `redis`; returns the
-- table scripts run in, and the one behind it, into which KEYS and ARGV are put.
--
-- Redis makes tables read-only by a change to Lua. Here scripts see empty tables with the real ones behind them.
local lua, redis, random, randomseed = ...
local error, setmetatable, type, tostring = lua.error, lua.setmetatable, lua.type, lua.tostring
local pcall = lua.pcall

local function refuse()
  error('Attempt to modify a readonly table', 2)
end

local function protect(behind)
  return setmetatable({}, { __index = behind, __newindex = refuse, __metatable = false })
end

local behind = {}
for name in ([[_VERSION assert error getmetatable ipairs load loadstring next pairs rawequal rawget select setmetatable
    tonumber tostring type unpack xpcall]]):gmatch('%S+') do
  behind[name] = lua[name]
end

-- An error of Redis comes as its text.
local function outcome(ok, problem, ...)
  if not ok and type(problem) == 'table' and type(problem.err) == 'string' then
    return ok, problem.err
  end
  return ok, problem, ...
end

function behind.pcall(...)
  return outcome(pcall(...))
end

-- What they say depends on the machine.
function behind.collectgarbage() return 0 end
function behind.gcinfo() return 0 end

function behind.rawset(target, key, value)
  if lua.getmetatable(target) == false then
    error('Attempt to modify a readonly table', 0)
  end
  return lua.rawset(target, key, value)
end

lua.math.random, lua.math.randomseed = random, randomseed
for _, library in lua.ipairs({ 'string', 'table', 'math', 'coroutine' }) do
  behind[library] = protect(lua[library])
end
behind.redis = protect(redis)

setmetatable(behind, {
  __index = function(_, name)
    error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
  end,
})
behind._G = protect(behind)
return behind._G, behind
