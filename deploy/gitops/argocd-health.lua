-- Argo CD health of ElpioService and ElpioFunction. In the ConfigMap argocd-cm, under both
--   resource.customizations.health.elpio.io_ElpioService: |
--   resource.customizations.health.elpio.io_ElpioFunction: |
local hs = { status = "Progressing", message = "waiting for the operator" }
local status = obj.status
if status == nil or status.conditions == nil then
  return hs
end
-- The conditions are about an older edit.
if status.observedGeneration ~= obj.metadata.generation then
  return hs
end
local stalled = false
for _, condition in ipairs(status.conditions) do
  if condition.type == "Ready" then
    hs.message = condition.message
    if condition.status == "True" then
      hs.status = "Healthy"
      return hs
    end
  elseif condition.type == "Stalled" and condition.status == "True" then
    stalled = true
  end
end
if stalled then
  -- No retry heals it: the spec is invalid, or the build failed.
  hs.status = "Degraded"
end
return hs
