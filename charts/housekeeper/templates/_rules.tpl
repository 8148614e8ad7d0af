{{/*
What the operator may do in the namespaces that it serves. docs/rbac.md gives the reason for each line, and a test keeps
the two the same. There are no Secrets here, and there must never be any.
*/}}
{{- define "housekeeper.rules" -}}
- apiGroups: [housekeeper.dev]
  resources: [cleanuppolicies, healthchecks]
  verbs: [get, list, watch]
- apiGroups: [housekeeper.dev]
  resources: [cleanuppolicies/status, healthchecks/status, maintenanceruns/status]
  verbs: [patch]
- apiGroups: [housekeeper.dev]
  resources: [maintenanceruns]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [batch]
  resources: [cronjobs]
  verbs: [get, list, watch, create, patch, update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [list]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
