{{/* What the operator does inside namespaces: tests/install holds it to exactly what the code asks for. */}}
{{- define "elpio.rules" -}}
{{- $child := "[get, list, watch, create, patch, delete]" -}}
# Our own kinds: seen, never edited; only what users may not write, the status, is ours.
- apiGroups: [elpio.io]
  resources: [elpiofunctions]
  verbs: [get, list, watch]
- apiGroups: [elpio.io]
  resources: [elpioservices/status, elpiofunctions/status]
  verbs: [patch]
# Owner references that block deletion, where the OwnerReferencesPermissionEnforcement admission plugin is on.
- apiGroups: [elpio.io]
  resources: [elpioservices/finalizers, elpiofunctions/finalizers]
  verbs: [update]
# The children. Server-side apply of an object that is not there takes `create` and `patch`.
# ElpioServices are among them: a function publishes one.
- apiGroups: [elpio.io]
  resources: [elpioservices]
  verbs: {{ $child }}
{{- with .Values.engines }}
{{- if .knative }}
- apiGroups: [serving.knative.dev]
  resources: [services, domainmappings]
  verbs: {{ $child }}
{{- end }}
{{- if .keda }}
- apiGroups: [apps]
  resources: [deployments]
  verbs: {{ $child }}
- apiGroups: [""]
  resources: [services]
  verbs: {{ $child }}
- apiGroups: [http.keda.sh]
  resources: [httpscaledobjects]
  verbs: {{ $child }}
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs: {{ $child }}
{{- end }}
{{- if .certManager }}
- apiGroups: [cert-manager.io]
  resources: [certificates]
  verbs: {{ $child }}
{{- end }}
{{- if .externalSecrets }}
- apiGroups: [external-secrets.io]
  resources: [externalsecrets]
  verbs: {{ $child }}
{{- end }}
{{- if .tekton }}
- apiGroups: [tekton.dev]
  resources: [pipelineruns]
  verbs: {{ $child }}
# Why a build failed, and how long its tasks took. Tekton makes them.
- apiGroups: [tekton.dev]
  resources: [taskruns]
  verbs: [get, list, watch]
{{- end }}
{{- end }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, get, list, patch]
{{- end -}}

{{- define "elpio.subject" -}}
- kind: ServiceAccount
  name: {{ include "elpio.serviceAccount" . | quote }}
  namespace: {{ .Release.Namespace | quote }}
{{- end -}}
