-- One counter of one scope: what each process claims of it, as `amount expiry`.
-- KEYS[1]: the counter. ARGV: process, most, used, need, want, time to live in ms, whether the process
-- has claimed some of it before, and how long nothing is given out after the store lost it, in ms.
-- A claim is never less than what was used, grows only within what the others leave, and not at all
-- where they do not leave what is needed.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local me, most, used = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local need, want, ttl = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local fields = redis.call('HGETALL', KEYS[1])
local others, mine, since = 0, 0, nil
for at = 1, #fields, 2 do
  local field, value = fields[at], fields[at + 1]
  if field == 'since' then
    since = tonumber(value)
  else
    local amount, expiry = string.match(value, '^(%d+) (%d+)$')
    if field == me then
      mine = tonumber(amount)
    elseif tonumber(expiry) < now then
      redis.call('HDEL', KEYS[1], field)
    else
      others = others + tonumber(amount)
    end
  end
end
if since == nil then
  since = 0
  if ARGV[7] == '1' then
    since = now + tonumber(ARGV[8])
  end
  redis.call('HSET', KEYS[1], 'since', string.format('%.0f', since))
end
local free = math.max(most - others, 0)
local claim = used
if since <= now then
  if free >= need then
    claim = math.max(used, math.min(want, free))
  else
    claim = math.max(used, math.min(mine, free))
  end
end
redis.call('HSET', KEYS[1], me, string.format('%.0f %.0f', claim, now + ttl))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', ttl))
return { string.format('%.0f', claim), string.format('%.0f', others) }
